"""Exact substitution for autoregressive convolutions, one wavefront of pixels at a time.

A pixel depends on the pixels under the live taps. All pixels with the same time
``t = s i + j`` are independent of each other: ``s = 1`` for a square mask (anti-diagonals,
``H + W - 1`` steps) and ``s = r + 1`` for a raster mask, whose taps reach ``r`` columns to the
right one row up (``W + (r + 1)(H - 1)`` steps). Each step is one gather, one matrix product
and one triangular solve with the centre tap, so the componentwise backward error of rule T2
is that of plain substitution.
"""

from __future__ import annotations

import torch
from torch import Tensor

from emcheck.solve.masks import Mask


def substitute(weight: Tensor, z: Tensor, mask: Mask, reverse: bool, dilation: int) -> Tensor:
    """The ``x (B, C, H, W)`` with ``conv(weight, x) = z``, for masked ``weight (C, C, k, k)``.

    Cost: ``B H W C^2`` times the number of live taps, in ``H + W`` sequential steps.
    """
    if reverse:
        flipped = substitute(weight.flip(0, 1, 2, 3), z.flip(1, 2, 3), mask, False, dilation)
        return flipped.flip(1, 2, 3)
    B, C, H, W = z.shape
    r = weight.shape[-1] // 2
    neighbours, taps = _neighbours(H, W, r, mask, dilation, z.device)  # (H*W, T)
    mixing = weight[:, :, taps[:, 0], taps[:, 1]]  # (C_out, C_in, T)
    mixing = mixing.permute(2, 1, 0).reshape(-1, C)  # (T*C_in, C_out)
    centre = weight[:, :, r, r].T  # upper triangular: rows of pixels are solved from the right
    pixels = z.permute(2, 3, 0, 1).reshape(H * W, B, C)
    x = z.new_zeros(H * W + 1, B, C)  # the last row stays zero: what lies outside the image
    for wave in _waves(H, W, r, mask, z.device):
        right = pixels[wave].flatten(0, 1)  # (n*B, C)
        if len(taps):
            known = x[neighbours[wave]].transpose(1, 2).flatten(2).flatten(0, 1)  # (n*B, T*C)
            right = right - known @ mixing
        solved = torch.linalg.solve_triangular(centre, right, upper=True, left=False)
        x[wave] = solved.reshape(len(wave), B, C)
    return x[:-1].reshape(H, W, B, C).permute(2, 3, 0, 1).contiguous()


def _neighbours(
    H: int, W: int, r: int, mask: Mask, dilation: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Flat source pixel of every off-centre live tap ``(H*W, T)`` and the taps ``(T, 2)``.

    ``H*W`` stands for a source outside the image; taps that never reach it are left out.
    """
    if mask == "square":
        taps = [(a, b) for a in range(r + 1) for b in range(r + 1)][:-1]
    else:
        taps = [(a, b) for a in range(2 * r + 1) for b in range(2 * r + 1) if (a, b) < (r, r)]
    offsets = {(a, b): ((a - r) * dilation, (b - r) * dilation) for a, b in taps}
    taps = [tap for tap in taps if abs(offsets[tap][0]) < H and abs(offsets[tap][1]) < W]
    i = torch.arange(H, device=device)[:, None]
    j = torch.arange(W, device=device)[None, :]
    columns = []
    for tap in taps:
        p, q = i + offsets[tap][0], j + offsets[tap][1]
        inside = (p >= 0) & (p < H) & (q >= 0) & (q < W)
        columns.append(torch.where(inside, p * W + q, H * W).reshape(-1))
    empty = torch.zeros(H * W, 0, dtype=torch.long, device=device)
    source = torch.stack(columns, dim=1) if columns else empty
    return source, torch.tensor(taps, dtype=torch.long, device=device).reshape(-1, 2)


def _waves(H: int, W: int, r: int, mask: Mask, device: torch.device) -> tuple[Tensor, ...]:
    """Flat pixel indices of every wavefront, in order of time."""
    slope = 1 if mask == "square" else r + 1
    i = torch.arange(H, device=device)[:, None]
    j = torch.arange(W, device=device)[None, :]
    time = (slope * i + j).reshape(-1)
    order = torch.argsort(time, stable=True)
    counts = torch.bincount(time)
    return tuple(part for part in torch.split(order, counts.tolist()) if len(part))
