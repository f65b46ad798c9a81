"""How ``EmergingConv2d`` is built and defined and how its parameters move."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from emcheck.contract import Event
from emcheck.layers.emerging import EmergingConv2d
from emcheck.oracle import Componentwise, ConvFactor, DiagonalLogdet, to_numpy
from emcheck.specs.autoregressive import log_diagonal, masked_weight, move_masked
from emcheck.specs.core import SPECS, LayerSpec, Trait
from emcheck.specs.parameter_styles import normal, scale_parameters, set_parameter


def _define(layer: nn.Module, event: Event) -> Componentwise:
    first, second = (layer.get_submodule(name) for name in ("first", "second"))
    w1 = masked_weight(first, "weight", "square", True)
    w2 = masked_weight(second, "weight", "square", False)
    dilation = int(first.dilation)  # type: ignore[arg-type]
    log_abs = np.concatenate([log_diagonal(w1), log_diagonal(w2)])
    rule = DiagonalLogdet(log_abs, event[1] * event[2])
    factors = [ConvFactor(w1, dilation), ConvFactor(w2, dilation)]
    return Componentwise(factors, rule, event, bias=to_numpy(layer, "bias"))


def _move(layer: nn.Module, style: str, generator: torch.Generator) -> None:
    r = layer.get_parameter("first.weight").shape[-1] // 2
    for name in ("first.weight", "second.weight"):
        move_masked(layer, name, (r + 1) ** 2, style, generator)
    set_parameter(layer, "bias", normal(layer.get_parameter("bias"), generator))


def _zero_diagonal(layer: nn.Module) -> None:
    weight = layer.get_parameter("second.weight")
    weight.data[0, 0, weight.shape[-1] // 2, weight.shape[-1] // 2] = 0.0


SPECS[EmergingConv2d] = LayerSpec(
    build=EmergingConv2d,
    define=_define,
    options={"kernel_size": (3, 1, 5, 7), "dilation": (1, 2, 3)},
    traits=frozenset({Trait.LINEAR, Trait.ZERO_PADDED, Trait.EQUIVARIANT}),
    move=_move,
    rescale=scale_parameters("first.weight", "bias"),
    make_singular=_zero_diagonal,
)
