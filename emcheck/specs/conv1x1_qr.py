"""How ``Conv1x1QR`` is built and defined and how its parameters move."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from emcheck.contract import Event
from emcheck.layers.conv1x1_qr import Conv1x1QR
from emcheck.oracle import DiagonalLogdet, PointwiseDefinition, householder, to_numpy
from emcheck.oracle.precision import matmul
from emcheck.specs.core import SPECS, LayerSpec, Trait
from emcheck.specs.parameter_styles import (
    normal,
    off_diagonal,
    random_diagonal,
    scale_parameters,
    set_parameter,
)


def _define(layer: nn.Module, event: Event) -> PointwiseDefinition:
    vectors, R, scale = (to_numpy(layer, name) for name in ("vectors", "upper", "scale"))
    for i in range(len(R)):
        R[i, :i] = 0
        R[i, i] = scale[i]
    with np.errstate(divide="ignore"):
        rule = DiagonalLogdet(np.log(np.abs(scale)), event[1] * event[2])
    return PointwiseDefinition(matmul(householder(vectors), R), rule, event)


def _move(layer: nn.Module, style: str, generator: torch.Generator) -> None:
    C = layer.get_parameter("scale").shape[0]
    set_parameter(layer, "vectors", normal(layer.get_parameter("vectors"), generator))
    upper = off_diagonal(layer.get_parameter("upper"), C, style, generator)
    set_parameter(layer, "upper", upper)
    set_parameter(layer, "scale", random_diagonal(C, style, generator))


def _zero_scale(layer: nn.Module) -> None:
    layer.get_parameter("scale").data[0] = 0.0


SPECS[Conv1x1QR] = LayerSpec(
    build=Conv1x1QR,
    define=_define,
    traits=frozenset({Trait.LINEAR, Trait.ZERO_PADDED, Trait.EQUIVARIANT, Trait.POINTWISE}),
    move=_move,
    rescale=scale_parameters("scale", "upper", "vectors"),
    make_singular=_zero_scale,
)
