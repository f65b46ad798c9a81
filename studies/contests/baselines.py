"""Other ways to invert a masked convolution, to compare the solvers with.

Each has the signature of a solver, square masks, not reversed.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from emcheck.solve import Mask
from emcheck.solve.compiled import njit
from emcheck.solve.masks import live_offsets


def _refuse(mask: Mask, reverse: bool) -> None:
    if mask != "square" or reverse:
        raise ValueError(f"expected a square mask, not reversed, got {mask}, reverse={reverse}")


@functools.lru_cache(maxsize=16)
def _taps_between(H: int, W: int, k: int, dilation: int) -> Tensor:
    """The flat tap from pixel q to pixel p, ``(H W, H W)``; ``k k`` where there is none."""
    number = torch.full((H, W, H, W), k * k)
    offsets = live_offsets(k, "square", dilation, H, W)
    for (a, b), (di, dj) in [*offsets.items(), ((k // 2, k // 2), (0, 0))]:
        i, j = torch.arange(-di, H)[:, None], torch.arange(-dj, W)[None, :]
        number[i, j, i + di, j + dj] = a * k + b
    return number.reshape(H * W, H * W)


def _dense(weight: Tensor, H: int, W: int, dilation: int) -> Tensor:
    """The matrix over (pixel, channel), lower triangular, ``(H W C, H W C)``."""
    C = weight.shape[0]
    taps = torch.cat([weight.flatten(2), weight.new_zeros(C, C, 1)], dim=2)
    between = taps[:, :, _taps_between(H, W, weight.shape[-1], dilation)]
    return between.permute(2, 0, 3, 1).reshape(H * W * C, H * W * C)


def dense_triangular(weight: Tensor, z: Tensor, mask: Mask, reverse: bool, dilation: int) -> Tensor:
    """One triangular solve with the whole matrix: ``B (H W C)^2`` operations."""
    _refuse(mask, reverse)
    B, C, H, W = z.shape
    right = z.permute(2, 3, 1, 0).reshape(-1, B)
    x = torch.linalg.solve_triangular(_dense(weight, H, W, dilation), right, upper=False)
    return x.reshape(H, W, C, B).permute(3, 2, 0, 1).contiguous()


def row_by_row(weight: Tensor, z: Tensor, mask: Mask, reverse: bool, dilation: int) -> Tensor:
    """A product with the rows above, then a triangular solve along the row; ``H`` steps."""
    _refuse(mask, reverse)
    B, C, H, W = z.shape
    r, k = weight.shape[-1] // 2, weight.shape[-1]
    own = torch.zeros_like(weight)
    own[:, :, r] = weight[:, :, r]
    along = _dense(own, 1, W, dilation)  # (W C, W C)
    above = weight[:, :, :r, : r + 1]
    x = z.new_zeros(B, C, H + r * dilation, W)
    for i in range(H):
        right = z[:, :, i]
        if r:
            rows = F.pad(x[:, :, i : i + (r - 1) * dilation + 1], (r * dilation, 0))
            right = right - F.conv2d(rows, above, dilation=dilation)[:, :, 0]
        columns = right.permute(2, 1, 0).reshape(W * C, B)
        solved = torch.linalg.solve_triangular(along, columns, upper=False)
        x[:, :, i + r * dilation] = solved.reshape(W, C, B).permute(2, 1, 0)
    return x[:, :, (k // 2) * dilation :].contiguous()


def jacobi(weight: Tensor, z: Tensor, mask: Mask, reverse: bool, dilation: int) -> Tensor:
    """``x <- D^-1 (z - (A - D) x)`` with the centre tap ``D``, until nothing moves.

    Exact after as many steps as the longest chain of pixels, ``H + W - 1``.
    """
    _refuse(mask, reverse)
    r = weight.shape[-1] // 2
    centre, others = weight[:, :, r, r], weight.clone()
    others[:, :, r, r] = 0
    quadrant = others[:, :, : r + 1, : r + 1]
    lead = r * dilation
    x = torch.zeros_like(z)
    for _ in range(z.shape[2] + z.shape[3] - 1):
        right = z - F.conv2d(F.pad(x, (lead, 0, lead, 0)), quadrant, dilation=dilation)
        moved = torch.linalg.solve_triangular(centre, right.flatten(2), upper=False)
        moved = moved.reshape(z.shape)
        if torch.equal(moved, x):
            break
        x = moved
    return x


@njit
def _paper(kernel, x, dilation):
    """``x (B, H, W, C)`` in place, ``kernel (k, k, C_in, C_out)``."""
    B, H, W, C = x.shape
    k = kernel.shape[0]
    r = k // 2
    for n in range(B):
        for i in range(H):
            for j in range(W):
                for o in range(C):
                    for c in range(C):
                        for a in range(k):
                            for b in range(k):
                                if a == r and b == r and c == o:
                                    continue
                                p, q = i + (a - r) * dilation, j + (b - r) * dilation
                                if 0 <= p < H and 0 <= q < W:
                                    source = x[n, np.uintp(p), np.uintp(q), c]
                                    x[n, i, j, o] -= kernel[a, b, c, o] * source
                    x[n, i, j, o] /= kernel[r, r, o, o]


def paper(weight: Tensor, z: Tensor, mask: Mask, reverse: bool, dilation: int) -> Tensor:
    """The algorithm of the paper's own code, compiled: scalar loops in float64, channels last.

    Input channels outside, taps inside, each product subtracted in memory; dead taps are
    multiplied by their zeros. (``scalar`` in ``emcheck.solve`` is the same substitution with
    live taps alone.)
    """
    _refuse(mask, reverse)
    x = z.permute(0, 2, 3, 1).double().contiguous()
    kernel = weight.permute(2, 3, 1, 0).double().contiguous()
    _paper(kernel.numpy(), x.numpy(), dilation)
    return x.permute(0, 3, 1, 2).to(z.dtype).contiguous()
