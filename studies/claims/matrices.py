"""Small matrices that several claims need: LU without pivoting, Householder vectors."""

from __future__ import annotations

import numpy as np
import torch

from emcheck._internal.randomness import stream
from emcheck.oracle.precision import Array


def gaussian(*key: object, shape: tuple[int, ...]) -> Array:
    """Normal numbers in float64, the same for the same key."""
    return torch.randn(shape, generator=stream(*key), dtype=torch.float64).numpy()


def lu_without_pivoting(A: Array) -> tuple[Array, Array]:
    """Unit lower ``L`` and upper ``U`` with ``L U = A (..., C, C)``.

    They exist, and are unique, if no leading principal minor is zero; a zero pivot gives
    entries that are not finite.
    """
    U = np.array(A)
    C = U.shape[-1]
    L = np.zeros_like(U) + np.eye(C)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for j in range(C):
            L[..., j + 1 :, j] = U[..., j + 1 :, j] / U[..., j, j, None]
            U[..., j + 1 :, :] -= L[..., j + 1 :, j, None] * U[..., j, None, :]
            U[..., j + 1 :, j] = 0
    return L, U


def reflections_of(Q: Array) -> Array:
    """Rows ``v_i (C, C)`` with ``Q = Q_1 ... Q_C``, for orthogonal ``Q`` with ``det = (-1)^C``.

    Each but the last reflects a column onto its axis; the determinant leaves -1 for the last.

    Reference: Householder, Unitary triangularization of a nonsymmetric matrix, 1958.
    """
    rest, C = np.array(Q), len(Q)
    vectors = np.zeros((C, C))
    for i in range(C - 1):
        x, tail = rest[i, i], rest[i + 1 :, i]
        vectors[i, i + 1 :] = tail
        # x - 1 without cancellation, because x^2 + |tail|^2 = 1
        vectors[i, i] = -(tail @ tail) / (1 + x) if x > 0 else x - 1
        if not vectors[i].any():
            raise ValueError(f"expected a generic orthogonal matrix, got one that keeps axis {i}")
        v = vectors[i]
        rest = rest - np.outer(2 * v / (v @ v), v @ rest)
    vectors[C - 1, C - 1] = 1.0
    return vectors
