"""The masks of autoregressive convolutions, as torch tensors."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

import torch
from torch import Tensor

Mask = Literal["square", "raster"]


@dataclass(frozen=True)
class Link:
    """A masked convolution without its weight."""

    mask: Mask
    reverse: bool
    dilation: int


def validate_mask(mask: str) -> Mask:
    """Return ``mask`` if it is the name of a mask, else raise ``ValueError``."""
    for name in get_args(Mask):
        if mask == name:
            return name
    raise ValueError(f"expected mask to be one of {get_args(Mask)}, got {mask!r}")


def live_taps(channels: int, kernel_size: int, mask: Mask, reverse: bool) -> Tensor:
    """Return which entries of ``w (C, C, k, k)`` are live, as a boolean tensor.

    Square: taps with ``a <= r`` and ``b <= r``. Raster: taps before the centre in raster order. The
    centre tap is lower-triangular over channels in both. ``reverse`` flips the mask on both space
    axes and both channel axes.
    """
    r = kernel_size // 2
    live = torch.zeros(channels, channels, kernel_size, kernel_size, dtype=torch.bool)
    if mask == "square":
        live[:, :, : r + 1, : r + 1] = True
    else:
        live[:, :, :r, :] = True
        live[:, :, r, :r] = True
    live[:, :, r, r] = torch.ones(channels, channels, dtype=torch.bool).tril()
    return live.flip(0, 1, 2, 3) if reverse else live


@functools.lru_cache(maxsize=128)
def live_offsets(
    kernel_size: int, mask: Mask, dilation: int, H: int, W: int
) -> Mapping[tuple[int, int], tuple[int, int]]:
    """Return the offsets ``(di, dj)`` of live taps ``(a, b)`` before the centre, in raster order.

    Not reversed; taps that never reach into an image of ``H x W`` are left out.
    """
    r = kernel_size // 2
    if mask == "square":
        taps = [(a, b) for a in range(r + 1) for b in range(r + 1)][:-1]
    else:
        taps = [(a, b) for a in range(r + 1) for b in range(kernel_size) if (a, b) < (r, r)]
    moved = {(a, b): ((a - r) * dilation, (b - r) * dilation) for a, b in taps}
    return MappingProxyType(
        {tap: (i, j) for tap, (i, j) in moved.items() if abs(i) < H and abs(j) < W}
    )


def diagonal(weight: Tensor) -> Tensor:
    """``w[c,c,r,r]``, ``(C,)``, of a weight ``(C, C, k, k)``."""
    C, k = weight.shape[0], weight.shape[-1]
    # One strided view, because in backward each view makes zeros of its whole input.
    return weight.flatten()[k // 2 * k + k // 2 :: (C + 1) * k * k]
