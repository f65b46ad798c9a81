"""How ``Conv1x1PLU`` is built and defined and how its parameters move."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from emcheck.bounds import ELEMENTARY
from emcheck.contract import Event
from emcheck.layers.conv1x1_plu import Conv1x1PLU
from emcheck.oracle import Componentwise, DiagonalLogdet, pointwise, to_numpy
from emcheck.oracle.precision import EXTENDED, Array
from emcheck.specs.core import SPECS, LayerSpec, Trait
from emcheck.specs.parameter_styles import (
    off_diagonal,
    random_log_sizes,
    random_signs,
    set_parameter,
)


def _permutation_matrix(layer: nn.Module) -> Array:
    index = layer.get_buffer("permutation").cpu().numpy()
    return np.eye(len(index), dtype=EXTENDED)[index]


def _define(layer: nn.Module, event: Event) -> Componentwise:
    L, U, log_scale = (to_numpy(layer, name) for name in ("lower", "upper", "log_scale"))
    sign = to_numpy(layer, "sign")
    for i in range(len(L)):
        L[i, i:] = 0
        L[i, i] = 1
        U[i, :i] = 0
        U[i, i] = sign[i] * np.exp(log_scale[i])
    factors = [pointwise(U), pointwise(L), pointwise(_permutation_matrix(layer))]
    rule = DiagonalLogdet(log_scale, event[1] * event[2])
    return Componentwise(factors, rule, event, roundings=ELEMENTARY)


def _move(layer: nn.Module, style: str, generator: torch.Generator) -> None:
    C = layer.get_parameter("log_scale").shape[0]
    for name in ("lower", "upper"):
        value = off_diagonal(layer.get_parameter(name), C, style, generator)
        set_parameter(layer, name, value)
    set_parameter(layer, "log_scale", random_log_sizes(C, style, generator))
    set_parameter(layer, "sign", random_signs(C, style, generator))


def _rescale(layer: nn.Module, factor: float) -> None:
    layer.get_parameter("upper").data.mul_(factor)
    layer.get_parameter("log_scale").data.add_(math.log(factor))


SPECS[Conv1x1PLU] = LayerSpec(
    build=Conv1x1PLU,
    define=_define,
    traits=frozenset({Trait.LINEAR, Trait.ZERO_PADDED, Trait.EQUIVARIANT, Trait.POINTWISE}),
    move=_move,
    rescale=_rescale,
)
