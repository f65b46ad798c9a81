"""Tiled wavefront in plain torch: exact substitution on any device, one diagonal at a time.

The image is cut into tiles of ``h x w`` pixels. What flows into a tile is a border of earlier
pixels; inside, the inverse is one triangular matrix, the same for every tile. All tiles with
the same time are independent: ``t = I + J`` for a square mask, and for a raster mask, whose
taps reach to the right in earlier rows, tiles of height 1 with ``t = s I + J``. A step is one
gather, one matrix product and one triangular solve, so the componentwise backward error of
rule T2 is that of plain substitution.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from emcheck.solve.masks import Mask, live_offsets

#: Unknowns of a tile. A larger one takes fewer steps and spends more on what is zero; with
#: batches of 32 on a CPU the times are flat from 24 to 100.
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
        weight, z = weight.flip(0, 1, 2, 3), z.flip(1)
    plan = _plan(C, H, W, weight.shape[-1], mask, reverse, dilation, z.device)
    taps = torch.cat([weight.flatten(2), weight.new_zeros(C, C, 1)], dim=2)  # the last is dead
    inner, border = _matrix(taps, plan.inner), _matrix(taps, plan.border)
    # Pixels, then one of zeros for what lies outside and one of waste: (B, H W + 2, C).
    x = F.pad(z.flatten(2).transpose(1, 2), (0, 0, 0, 2))
    for unknown, known in plan.steps:
        rows = x.index_select(1, unknown).reshape(-1, len(inner))  # (B n, p C)
        if len(known):
            earlier = x.index_select(1, known).reshape(len(rows), -1)  # (B n, q C)
            rows = torch.addmm(rows, earlier, border.T, alpha=-1)
        solved = torch.linalg.solve_triangular(inner.T, rows, upper=True, left=False)
        x.index_copy_(1, unknown, solved.reshape(B, -1, C))
    x = x[:, :-2].transpose(1, 2).reshape(B, C, H, W)
    return x.flip(1) if reverse else x.contiguous()


def _matrix(taps: Tensor, index: Tensor) -> Tensor:
    """``(p C, q C)`` from the taps ``(C, C, k k + 1)`` between pixels ``index (p, q)``."""
    C = taps.shape[0]
    return taps[:, :, index].permute(2, 0, 3, 1).reshape(index.shape[0] * C, index.shape[1] * C)


@dataclass(frozen=True)
class _Plan:
    """Geometry alone, nothing of the weights: it cannot go stale.

    ``inner (p, p)`` and ``border (p, q)`` number the tap between two pixels; every step has
    the pixels ``(n p,)`` of its ``n`` tiles and ``(n q,)`` of their borders.
    """

    inner: Tensor
    border: Tensor
    steps: tuple[tuple[Tensor, Tensor], ...]


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
    I = torch.arange(tiles_down).repeat_interleave(tiles_across)
    J = torch.arange(tiles_across).repeat(tiles_down)
    time = slope * I + J
    steps = []
    for t in range(int(time.max()) + 1):
        chosen = (time == t).nonzero()[:, 0]
        if len(chosen):
            top, left = I[chosen] * h, J[chosen] * w
            rows = [
                _pixels(pixels, top, left, H, W, reverse, outside).to(device)
                for pixels, outside in ((inside, 1), (around, 0))
            ]
            steps.append((rows[0], rows[1]))
    return _Plan(between(inside), between(around), tuple(steps))


def _tile(C: int, H: int, W: int, mask: Mask) -> tuple[int, int]:
    """As high as wide or one row (raster), of about ``_UNKNOWNS`` unknowns."""
    pixels = max(1, _UNKNOWNS // C)
    if mask == "raster":
        return 1, min(W, pixels)
    h = min(H, math.isqrt(pixels))
    return h, min(W, max(1, pixels // h))


def _pixels(
    inside: list[tuple[int, int]],
    top: Tensor,
    left: Tensor,
    H: int,
    W: int,
    reverse: bool,
    outside: int,
) -> Tensor:
    """Flat pixels, tile by tile ``(n len(inside),)``; ``H W + outside`` outside the image."""
    P = torch.tensor(inside, dtype=torch.long).reshape(-1, 2)
    i, j = top[:, None] + P[:, 0], left[:, None] + P[:, 1]  # (n, p)
    flat = i * W + j
    if reverse:  # flips of rows and columns turn the order of pixels around
        flat = H * W - 1 - flat
    known = (i >= 0) & (i < H) & (j >= 0) & (j < W)
    return torch.where(known, flat, H * W + outside).reshape(-1)
