"""The product of Householder reflections and a triangle, compiled for small matrices.

In compact (WY) form it takes a dozen operations of torch, each more expensive than the few
thousand products of a small matrix.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from emcheck.solve.compiled import KEEP


@njit(nogil=True, cache=KEEP)
def _product(vectors, upper, scale, W):
    """``W = Q_1 ... Q_C (triu(upper, 1) + diag(scale))``; the index of a zero vector, or -1."""
    C = len(scale)
    for i in range(C):
        for j in range(C):
            W[i, j] = upper[i, j] if j > i else 0
        W[i, i] = scale[i]
    v, row = np.empty(C, W.dtype), np.empty(C, W.dtype)
    for i in range(C - 1, -1, -1):
        largest = W.dtype.type(0)
        for c in range(C):
            size = abs(vectors[i, c])
            if size > largest or size != size:  # a NaN stays the largest
                largest = size
        if largest == 0:
            return i
        square = W.dtype.type(0)
        for c in range(C):
            v[c] = vectors[i, c] / largest  # so that no squared length over- or underflows
            square += v[c] * v[c]
        row[:] = 0
        for c in range(C):
            for j in range(C):
                row[j] += v[c] * W[c, j]
        for c in range(C):
            factor = 2 * v[c] / square
            for j in range(C):
                W[c, j] -= factor * row[j]
    return -1


def product(vectors: Tensor, upper: Tensor, scale: Tensor) -> tuple[Tensor, int]:
    """``Q (triu(upper, 1) + diag(scale))`` and the index of a zero reflection vector, or -1.

    ``Q = Q_1 ... Q_C`` with ``Q_i = I - 2 v_i v_i^T / (v_i^T v_i)``, ``v_i`` the rows of
    ``vectors``. Cost: ``2 C^3`` products.
    """
    W = torch.empty_like(upper, memory_format=torch.contiguous_format)
    return W, _product(*(t.numpy() for t in (vectors, upper, scale, W)))
