"""Substitution one number at a time: the algorithm of the paper's own code.

It is the slowest exact solver, and the simplest. It is compiled if Numba is installed;
otherwise the same loops run in the interpreter.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from emcheck.solve.compiled import njit
from emcheck.solve.masks import Mask, live_offsets


@njit
def _solve(weight, z, x, taps, moved):
    B, C, H, W = z.shape
    r = weight.shape[2] // 2
    for n in range(B):
        for i in range(H):
            for j in range(W):
                for o in range(C):
                    total = z[n, o, i, j]
                    for t in range(len(taps)):
                        p, q = i + moved[t, 0], j + moved[t, 1]
                        if 0 <= p < H and 0 <= q < W:
                            for c in range(C):
                                total -= weight[o, c, taps[t, 0], taps[t, 1]] * x[n, c, p, q]
                    for c in range(o):
                        total -= weight[o, c, r, r] * x[n, c, i, j]
                    x[n, o, i, j] = total / weight[o, o, r, r]


def substitute(weight: Tensor, z: Tensor, mask: Mask, reverse: bool, dilation: int) -> Tensor:
    """The ``x (B, C, H, W)`` with ``conv(weight, x) = z``, for masked ``weight (C, C, k, k)``.

    Cost: ``B H W C^2`` times the number of live taps, one multiplication at a time.
    """
    if reverse:
        weight, z = weight.flip(0, 1, 2, 3), z.flip(1, 2, 3)
    x = torch.empty(z.shape, dtype=z.dtype)
    offsets = live_offsets(weight.shape[-1], mask, dilation, z.shape[2], z.shape[3])
    taps = np.array(list(offsets), np.int64).reshape(-1, 2)
    moved = np.array(list(offsets.values()), np.int64).reshape(-1, 2)
    _solve(weight.cpu().numpy(), z.cpu().numpy(), x.numpy(), taps, moved)
    return (x.flip(1, 2, 3) if reverse else x).to(z.device)
