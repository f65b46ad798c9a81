"""How ``AutoregressiveConv2d`` is built and defined and how its parameters move."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from emcheck.contract import (
    Event,
)
from emcheck.layers.autoregressive import AutoregressiveConv2d
from emcheck.oracle import Componentwise, ConvFactor, DiagonalLogdet, masked, to_numpy
from emcheck.oracle.precision import Array
from emcheck.solve import (
    Mask,
)
from emcheck.specs.core import SPECS, LayerSpec, Trait
from emcheck.specs.parameter_styles import (
    off_diagonal,
    random_diagonal,
    scale_parameters,
    set_parameter,
)


def masked_weight(layer: nn.Module, name: str, mask: Mask, reverse: bool) -> Array:
    """Return the parameter ``name``, masked by the oracle's own rule."""
    return masked(to_numpy(layer, name), mask, reverse)


def log_diagonal(weight: Array) -> Array:
    """Return ``log|w[c,c,r,r]|``, ``(C,)``."""
    r = weight.shape[-1] // 2
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.abs(np.diagonal(weight[:, :, r, r]))))


def move_masked(
    layer: nn.Module, name: str, live: int, style: str, generator: torch.Generator
) -> None:
    """Set a masked weight: entries off the diagonal sized by the number of live taps.

    Substitution amplifies by the ratio of off-diagonal to diagonal entries at every pixel, so an
    ill-conditioned convolution needs no unequal diagonal.
    """
    weight = layer.get_parameter(name)
    C, r = weight.shape[0], weight.shape[-1] // 2
    value = off_diagonal(weight, live * C, style, generator) * 2
    index = torch.arange(C)
    value[index, index, r, r] = random_diagonal(C, "mixed" if style == "ill" else style, generator)
    set_parameter(layer, name, value)


def _define(layer: nn.Module, event: Event) -> Componentwise:
    assert isinstance(layer.dilation, int)
    weight = masked_weight(layer, "weight", layer.mask, layer.reverse)  # type: ignore[arg-type]
    rule = DiagonalLogdet(log_diagonal(weight), event[1] * event[2])
    return Componentwise([ConvFactor(weight, layer.dilation)], rule, event)


def _move(layer: nn.Module, style: str, generator: torch.Generator) -> None:
    r = layer.get_parameter("weight").shape[-1] // 2
    live = (r + 1) ** 2 if layer.mask == "square" else 2 * r * (r + 1) + 1
    move_masked(layer, "weight", live, style, generator)


def _order(layer: nn.Module, event: Event) -> Array:
    """Return pixels in raster order, channels inside; the other way round if reversed."""
    C, H, W = event
    index = np.arange(C * H * W).reshape(C, H, W).transpose(1, 2, 0).reshape(-1)
    return index[::-1].copy() if layer.reverse else index


def _zero_diagonal(layer: nn.Module) -> None:
    weight = layer.get_parameter("weight")
    weight.data[0, 0, weight.shape[-1] // 2, weight.shape[-1] // 2] = 0.0


SPECS[AutoregressiveConv2d] = LayerSpec(
    build=AutoregressiveConv2d,
    define=_define,
    options={
        "kernel_size": (3, 1, 5, 7),
        "mask": ("square", "raster"),
        "reverse": (False, True),
        "dilation": (1, 2, 3),
    },
    traits=frozenset({Trait.LINEAR, Trait.ZERO_PADDED, Trait.EQUIVARIANT, Trait.REVERSIBLE}),
    move=_move,
    order=_order,
    rescale=scale_parameters("weight"),
    make_singular=_zero_diagonal,
)
