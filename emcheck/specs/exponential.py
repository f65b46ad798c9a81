"""How ``ExponentialConv2d`` is built and defined and how its parameters move."""

from __future__ import annotations

import torch
from torch import nn

from emcheck.contract import Event
from emcheck.layers.exponential import ExponentialConv2d
from emcheck.oracle import ExponentialDefinition, to_numpy
from emcheck.specs.core import SPECS, LayerSpec, Trait
from emcheck.specs.parameter_styles import (
    off_diagonal,
    random_log_sizes,
    set_parameter,
)


def _define(layer: nn.Module, event: Event) -> ExponentialDefinition:
    terms = layer.terms
    assert terms is None or isinstance(terms, int)
    return ExponentialDefinition(to_numpy(layer, "weight"), event, terms)


def _move(layer: nn.Module, style: str, generator: torch.Generator) -> None:
    """Move the diagonal as logarithms of scales, whose exponential the layer takes.

    ``ill`` spreads the scales alone: large taps off the diagonal make a norm whose steps cost
    seconds, and no condition number.
    """
    weight = layer.get_parameter("weight")
    C, r = weight.shape[0], weight.shape[-1] // 2
    taps = C * weight.shape[-1] ** 2
    value = off_diagonal(weight, taps, "mixed" if style == "ill" else style, generator) * 2
    index = torch.arange(C)
    value[index, index, r, r] += random_log_sizes(C, style, generator)
    set_parameter(layer, "weight", value)


SPECS[ExponentialConv2d] = LayerSpec(
    build=ExponentialConv2d,
    define=_define,
    options={"kernel_size": (3, 1, 5, 7), "terms": (None,)},
    traits=frozenset({Trait.LINEAR, Trait.ZERO_PADDED}),
    move=_move,
)
