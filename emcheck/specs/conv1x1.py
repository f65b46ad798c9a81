"""How ``Conv1x1`` is built and defined and how its parameters move."""

from __future__ import annotations

import torch
from torch import nn

from emcheck.contract import Event
from emcheck.layers.conv1x1 import Conv1x1
from emcheck.oracle import DenseLogdet, PointwiseDefinition, to_numpy
from emcheck.specs.core import SPECS, LayerSpec, Trait
from emcheck.specs.parameter_styles import random_matrix, scale_parameters, set_parameter


def _define(layer: nn.Module, event: Event) -> PointwiseDefinition:
    W = to_numpy(layer, "weight")
    return PointwiseDefinition(W, DenseLogdet(W, event[1] * event[2]), event)


def _move(layer: nn.Module, style: str, generator: torch.Generator) -> None:
    set_parameter(layer, "weight", random_matrix(layer.get_parameter("weight"), style, generator))


def _zero_row(layer: nn.Module) -> None:
    layer.get_parameter("weight").data[0] = 0.0


SPECS[Conv1x1] = LayerSpec(
    build=Conv1x1,
    define=_define,
    traits=frozenset({Trait.LINEAR, Trait.ZERO_PADDED, Trait.EQUIVARIANT, Trait.POINTWISE}),
    move=_move,
    rescale=scale_parameters("weight"),
    make_singular=_zero_row,
)
