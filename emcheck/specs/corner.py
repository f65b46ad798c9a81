"""How the one-corner convolutions are built and defined and how their parameters move."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import torch
from torch import nn

from emcheck.contract import Event
from emcheck.layers.corner import CornerConv2d, FourCornerConv2d
from emcheck.oracle import Componentwise, ConvFactor, DiagonalLogdet, to_numpy
from emcheck.oracle.precision import Array
from emcheck.specs.core import SPECS, LayerSpec, Trait
from emcheck.specs.parameter_styles import off_diagonal, random_diagonal, set_parameter

#: Whether a pixel sees rows below it and columns to its right, by the padded corner.
_SEES: Mapping[str, tuple[bool, bool]] = MappingProxyType(
    {
        "top-left": (False, False),
        "top-right": (False, True),
        "bottom-left": (True, False),
        "bottom-right": (True, True),
    }
)


def _centred(weight: Array, corner: str) -> Array:
    """Return ``w (C, C, k, k)`` as an ordinary kernel ``(C, C, 2k-1, 2k-1)``, tap by tap.

    Tap ``(a, b)`` reaches ``k-1-a`` rows and ``k-1-b`` columns towards the corner; without a
    reach, output ``o`` sees the channels ``c <= o`` only.
    """
    C, _, k, _ = weight.shape
    below, right = (1 if sees else -1 for sees in _SEES[corner])
    out = np.zeros((C, C, 2 * k - 1, 2 * k - 1), dtype=weight.dtype)
    for o, c, a, b in np.ndindex(weight.shape):
        up, left = k - 1 - a, k - 1 - b
        if up or left or c <= o:
            out[o, c, k - 1 + below * up, k - 1 + right * left] = weight[o, c, a, b]
    return out


def _definition(parts: list[tuple[Array, str]], event: Event) -> Componentwise:
    """Return one convolution whose kernel is block-diagonal over the groups of channels."""
    C, k = event[0], parts[0][0].shape[-1]
    kernel = np.zeros((C, C, 2 * k - 1, 2 * k - 1), dtype=parts[0][0].dtype)
    diagonals, first = [], 0
    for weight, corner in parts:
        last = first + len(weight)
        kernel[first:last, first:last] = _centred(weight, corner)
        diagonals.append(np.diagonal(weight[:, :, k - 1, k - 1]))
        first = last
    with np.errstate(divide="ignore"):
        rule = DiagonalLogdet(np.log(np.abs(np.concatenate(diagonals))), event[1] * event[2])
    return Componentwise([ConvFactor(kernel)], rule, event)


def _define(layer: nn.Module, event: Event) -> Componentwise:
    return _definition([(to_numpy(layer, "weight"), str(layer.corner))], event)


def _define_four(layer: nn.Module, event: Event) -> Componentwise:
    parts = layer.get_submodule("parts")
    names = [f"{n}.weight" for n in range(len(list(parts.children())))]
    return _definition([(to_numpy(parts, n), c) for n, c in zip(names, _SEES, strict=False)], event)


def _move(layer: nn.Module, style: str, generator: torch.Generator) -> None:
    """Set every weight as a masked one: substitution alone makes it ill-conditioned."""
    for name, weight in layer.named_parameters():
        C, k = weight.shape[0], weight.shape[-1]
        value = off_diagonal(weight, k * k * C, style, generator) * 2
        index = torch.arange(C)
        sizes = random_diagonal(C, "mixed" if style == "ill" else style, generator)
        value[index, index, k - 1, k - 1] = sizes
        set_parameter(layer, name, value)


def _order(layer: nn.Module, event: Event) -> Array:
    """Return pixels in raster order beginning at the padded corner, channels inside."""
    return _from_corner(np.arange(int(np.prod(event))).reshape(event), str(layer.corner))


def _order_four(layer: nn.Module, event: Event) -> Array:
    """Return one group of channels after the other, each in its own order."""
    index, first, orders = np.arange(int(np.prod(event))).reshape(event), 0, []
    for part, corner in zip(layer.get_submodule("parts").children(), _SEES, strict=False):
        last = first + len(part.get_parameter("weight"))
        orders.append(_from_corner(index[first:last], corner))
        first = last
    return np.concatenate(orders)


def _from_corner(index: Array, corner: str) -> Array:
    rows, columns = (-1 if sees else 1 for sees in _SEES[corner])
    return index[:, ::rows, ::columns].transpose(1, 2, 0).reshape(-1)


def _zero_diagonal(layer: nn.Module) -> None:
    weight, *_ = layer.parameters()
    weight.data[0, 0, -1, -1] = 0.0


def _rescale(layer: nn.Module, factor: float) -> None:
    for weight in layer.parameters():
        weight.data.mul_(factor)


_TRAITS = frozenset({Trait.LINEAR, Trait.ZERO_PADDED, Trait.EQUIVARIANT})

SPECS[CornerConv2d] = LayerSpec(
    build=CornerConv2d,
    define=_define,
    options={"kernel_size": (3, 1, 2, 4), "corner": tuple(_SEES)},
    traits=_TRAITS,
    move=_move,
    order=_order,
    rescale=_rescale,
    make_singular=_zero_diagonal,
)


SPECS[FourCornerConv2d] = LayerSpec(
    build=FourCornerConv2d,
    define=_define_four,
    options={"kernel_size": (3, 1, 2, 4)},
    traits=_TRAITS,
    move=_move,
    order=_order_four,
    rescale=_rescale,
    make_singular=_zero_diagonal,
)
