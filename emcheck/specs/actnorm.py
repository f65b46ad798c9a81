"""How ``ActNorm2d`` is built and defined and how its parameters move."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from emcheck.contract import Event
from emcheck.layers.actnorm import ActNorm2d
from emcheck.oracle import Componentwise, DiagonalLogdet, pointwise, to_numpy
from emcheck.specs.core import SPECS, LayerSpec, Trait
from emcheck.specs.parameter_styles import normal, random_diagonal, scale_parameters, set_parameter


def _define(layer: nn.Module, event: Event) -> Componentwise:
    scale, bias = to_numpy(layer, "scale"), to_numpy(layer, "bias")
    with np.errstate(divide="ignore"):
        rule = DiagonalLogdet(np.log(np.abs(scale)), event[1] * event[2])
    return Componentwise([pointwise(np.diag(scale))], rule, event, bias=bias)


def _move(layer: nn.Module, style: str, generator: torch.Generator) -> None:
    scale = layer.get_parameter("scale")
    set_parameter(layer, "scale", random_diagonal(len(scale), style, generator))
    set_parameter(layer, "bias", normal(scale, generator))


def _zero_scale(layer: nn.Module) -> None:
    layer.get_parameter("scale").data[0] = 0.0


SPECS[ActNorm2d] = LayerSpec(
    build=ActNorm2d,
    define=_define,
    traits=frozenset(
        {
            Trait.LINEAR,
            Trait.ZERO_PADDED,
            Trait.EQUIVARIANT,
            Trait.POINTWISE,
            Trait.INITIALIZES,
        }
    ),
    move=_move,
    order=lambda layer, event: np.arange(int(np.prod(event))),
    rescale=scale_parameters("scale", "bias"),
    make_singular=_zero_scale,
)
