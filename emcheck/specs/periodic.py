"""How ``PeriodicConv2d`` is built and defined and how its parameters move."""

from __future__ import annotations

import torch
from torch import nn

from emcheck.contract import (
    Event,
)
from emcheck.layers.periodic import PeriodicConv2d
from emcheck.oracle import FourierDefinition, to_numpy
from emcheck.specs.core import SPECS, LayerSpec, Trait
from emcheck.specs.parameter_styles import (
    off_diagonal,
    random_matrix,
    scale_parameters,
    set_parameter,
)


def _define(layer: nn.Module, event: Event) -> FourierDefinition:
    return FourierDefinition(to_numpy(layer, "weight"), event)


def move_kernel(layer: nn.Module, style: str, generator: torch.Generator) -> None:
    """Set the centre tap to a random matrix, the other taps to small numbers."""
    weight = layer.get_parameter("weight")
    C, r = weight.shape[0], weight.shape[-1] // 2
    value = off_diagonal(weight, C * weight.shape[-1] ** 2, style, generator) * 2
    value[:, :, r, r] += random_matrix(weight[:, :, r, r], style, generator)
    set_parameter(layer, "weight", value)


def _zero_output_channel(layer: nn.Module) -> None:
    layer.get_parameter("weight").data[0] = 0.0


SPECS[PeriodicConv2d] = LayerSpec(
    build=PeriodicConv2d,
    define=_define,
    options={"kernel_size": (3, 1, 5, 7)},
    traits=frozenset({Trait.LINEAR, Trait.PERIODIC}),
    move=move_kernel,
    rescale=scale_parameters("weight"),
    make_singular=_zero_output_channel,
)
