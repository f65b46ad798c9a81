"""Tiled wavefront in plain torch: exact substitution on any device, one diagonal at a time.

The image is cut into tiles of ``h x w`` pixels. A tile depends on a border of earlier pixels;
inside, the system is one triangular matrix, the same for every tile. All tiles with the
same time are independent: ``t = I + J`` for a square mask, and for a raster mask, whose
taps reach to the right in earlier rows, tiles of height 1 with ``t = s I + J``. A step is one
gather, one matrix product and one triangular solve, so the componentwise backward error of
rule T2 is that of plain substitution.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from emcheck.solve.masks import Mask, live_offsets

#: Unknowns of a tile. A larger tile takes fewer steps and spends more on zeros; with batches of 32
#: on a CPU the times are flat from 24 to 100.
_UNKNOWNS = 48


def substitute(weight: Tensor, z: Tensor, mask: Mask, reverse: bool, dilation: int) -> Tensor:
    """The ``x (B, C, H, W)`` with ``conv(weight, x) = z``, for masked ``weight (C, C, k, k)``.

    Cost: ``B H W C^2`` times the number of live taps and about as much again inside tiles, in
    ``H/h + W/w - 1`` (square) or ``W/w + s (H - 1)`` (raster) sequential steps.
    """
    B, C, H, W = z.shape
    if z.numel() == 0:
        return torch.zeros_like(z)
    if reverse:
        weight = weight.flip(0, 1, 2, 3)
    plan = _plan(C, H, W, weight.shape[-1], mask, reverse, dilation, z.device)
    taps = torch.cat([weight.flatten(2), weight.new_zeros(C, C, 1)], dim=2)  # the last is dead
    inner, border = _matrix(taps, plan.inner).T.contiguous(), _matrix(taps, plan.border)
    # One row for each number of a sample, tiles of a step side by side, then one row of zeros.
    numbers = z.new_zeros(C * H * W + 1, B)
    numbers[:-1] = z.reshape(B, -1).T
    x = numbers.index_select(0, plan.order)
    unknowns = x[:-1].reshape(len(inner), -1)  # (p C, tiles B)
    for first, last, known in plan.steps:
        rows = unknowns[:, first * B : last * B]  # (p C, n B)
        if len(known):
            earlier = x.index_select(0, known).reshape(-1, rows.shape[1])  # (q C, n B)
            rows.addmm_(border, earlier, alpha=-1)
        solved = torch.linalg.solve_triangular(inner, rows.T, upper=True, left=False)
        rows.copy_(solved.T)
    return x.index_select(0, plan.back).T.reshape(B, C, H, W)


def _matrix(taps: Tensor, index: Tensor) -> Tensor:
    """Return ``(p C, q C)`` from taps ``(C, C, k k + 1)`` between pixels ``index (p, q)``."""
    C = taps.shape[0]
    return taps[:, :, index].permute(2, 0, 3, 1).reshape(index.shape[0] * C, index.shape[1] * C)


@dataclass(frozen=True)
class _Plan:
    """The geometry of the tiles, without the weights, so that it cannot go stale.

    ``inner (p, p)`` and ``border (p, q)`` number the tap between two pixels. ``order`` are the
    numbers of a sample by (pixel of a tile, channel, tile), tiles in the order of their steps,
    and then one zero; ``back`` is the inverse of ``order``. Every step has its first tile, the
    tile after its last, and the rows ``(q C n,)`` that its ``n`` tiles depend on.
    """

    inner: Tensor
    border: Tensor
    order: Tensor
    back: Tensor
    steps: tuple[tuple[int, int, Tensor], ...]


@functools.lru_cache(maxsize=32)
def _plan(
    C: int, H: int, W: int, k: int, mask: Mask, reverse: bool, dilation: int, device: torch.device
) -> _Plan:
    offsets = live_offsets(k, mask, dilation, H, W)  # (a, b) -> (di, dj)
    by_offset = {moved: a * k + b for (a, b), moved in offsets.items()}
    by_offset[0, 0] = (k // 2) * k + k // 2
    h, w = _tile(C, H, W, mask)
    inside = [(i, j) for i in range(h) for j in range(w)]
    reached = {(i + di, j + dj) for i, j in inside for di, dj in offsets.values()}
    around = sorted(reached - set(inside))

    def between(sources: list[tuple[int, int]]) -> Tensor:
        numbers = [[by_offset.get((p - i, q - j), k * k) for p, q in sources] for i, j in inside]
        return torch.tensor(numbers, dtype=torch.long, device=device).reshape(h * w, len(sources))

    rightmost = max((dj for _, dj in offsets.values()), default=0)
    slope = 1 if mask == "square" else 1 - (-max(rightmost, 0) // w)
    tiles_down, tiles_across = -(-H // h), -(-W // w)
    tiles = torch.cartesian_prod(torch.arange(tiles_down), torch.arange(tiles_across))
    time, places = (slope * tiles[:, 0] + tiles[:, 1]).sort(stable=True)
    corners = tiles[places] * torch.tensor([h, w])  # (tiles, 2)

    pixels = _pixels(inside, corners, H, W)  # (p, tiles)
    channels = torch.arange(C)[:, None]
    numbers = torch.where(pixels[:, None] < H * W, channels * H * W + pixels[:, None], C * H * W)
    if reverse:  # flips of rows, columns and channels reverse the order of the numbers
        numbers = torch.where(numbers < C * H * W, C * H * W - 1 - numbers, numbers)
    order = torch.cat([numbers.reshape(-1), torch.tensor([C * H * W])])
    back = torch.empty(C * H * W + 1, dtype=torch.long)
    back[order] = torch.arange(len(order))

    # The row of (pixel, channel): the place of the numbers of that pixel in the new order.
    rows = torch.full((C, H * W + 1), len(order) - 1)
    row = torch.arange(len(order) - 1).reshape(numbers.shape).transpose(0, 1)  # (C, p, tiles)
    rows[:, pixels] = row
    rows[:, H * W] = len(order) - 1  # what lies outside is zero
    sources = rows[:, _pixels(around, corners, H, W)].transpose(0, 1)  # (q, C, tiles)
    ends = [0, *((time[1:] != time[:-1]).nonzero()[:, 0] + 1).tolist(), len(time)]
    steps = []
    for first, last in itertools.pairwise(ends):
        known = sources[:, :, first:last].reshape(-1)
        if bool((known == len(order) - 1).all()):
            known = known[:0]
        steps.append((first, last, known.to(device)))
    return _Plan(
        between(inside), between(around), order.to(device), back[:-1].to(device), tuple(steps)
    )


def _tile(C: int, H: int, W: int, mask: Mask) -> tuple[int, int]:
    """Return a tile, square or one row (raster), of about ``_UNKNOWNS`` unknowns."""
    pixels = max(1, _UNKNOWNS // C)
    if mask == "raster":
        return 1, min(W, pixels)
    h = min(H, math.isqrt(pixels))
    return h, min(W, max(1, pixels // h))


def _pixels(inside: list[tuple[int, int]], corners: Tensor, H: int, W: int) -> Tensor:
    """Return flat pixels ``(len(inside), tiles)``; ``H W`` outside the image."""
    P = torch.tensor(inside, dtype=torch.long).reshape(-1, 1, 2)
    i, j = (corners + P).unbind(-1)
    known = (i >= 0) & (i < H) & (j >= 0) & (j < W)
    return torch.where(known, i * W + j, H * W)
