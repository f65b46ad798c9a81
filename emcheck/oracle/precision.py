"""Arithmetic wider than the dtype under test: extended sums, multi-precision log-dets."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from emcheck.oracle.spectrum import cached_by_content, singular_extremes

Array = NDArray[Any]

#: 64 bits of mantissa on x86, 113 on some others; equal to float64 where the C compiler has
#: no wider type, and then sums of products are compensated instead (``compensated_matmul``).
EXTENDED = np.longdouble
HAS_EXTENDED = np.finfo(EXTENDED).nmant >= 63

#: Above this condition number a float64 LU keeps fewer than six digits of a log-det.
MULTIPRECISION_CONDITION = 1e10

#: Rows up to which a determinant in mpmath costs less than a fifth of a second.
_MOST_MULTIPRECISION = 48


def to_numpy(layer: nn.Module, name: str) -> Array:
    """Return the parameter or buffer ``name`` (dots allowed) as extended-precision numbers."""
    owner_name, _, leaf = name.rpartition(".")
    value = getattr(layer.get_submodule(owner_name), leaf)
    return as_extended(value)


def as_extended(value: torch.Tensor | Array) -> Array:
    """Return a tensor or array in extended precision; conversion from float32/64 is exact."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    return np.array(value, dtype=EXTENDED)


def matmul(a: Array, b: Array) -> Array:
    """``a @ b`` in extended precision, for ``(n, k)`` and ``(k, m)``."""
    if HAS_EXTENDED or a.dtype == np.float64:
        return np.asarray(a @ b)
    return compensated_matmul(np.asarray(a, np.float64), np.asarray(b, np.float64))


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """``s + e = a + b`` exactly, with ``s = fl(a + b)`` (Knuth)."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """``p + e = a b`` exactly, with ``p = fl(a b)`` (Dekker, Veltkamp split at 27 bits)."""

    def split(v: Array) -> tuple[Array, Array]:
        c = 134217729.0 * v  # 2^27 + 1
        high = c - (c - v)
        return high, v - high

    p = a * b
    (ah, al), (bh, bl) = split(a), split(b)
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl


def compensated_matmul(a: Array, b: Array) -> Array:
    """``a @ b`` in float64 as if computed with twice the digits and rounded once.

    Operands are scaled by powers of two, so that the split does not overflow.

    Reference: Ogita, Rump, Oishi, Accurate Sum and Dot Product, SIAM J. Sci. Comput. 2005.
    """
    scale_a, scale_b = (2.0 ** np.frexp(np.abs(v).max(initial=1e-300))[1] for v in (a, b))
    a, b = a / scale_a, b / scale_b
    total = np.zeros((a.shape[0], b.shape[1]))
    correction = np.zeros_like(total)
    for j in range(a.shape[1]):
        product, low = two_product(a[:, j, None], b[None, j, :])
        total, error = two_sum(total, product)
        correction += low + error
    return np.asarray((total + correction) * scale_a * scale_b)


@cached_by_content
def slogdet(matrix: Array) -> tuple[float, float]:
    """``(log|det|, condition)`` of one square matrix, accurate at any condition number.

    LU (``numpy.linalg.slogdet``) and Householder QR (``numpy.linalg.qr``) must agree within the
    bound of rule T9; where the condition number exceeds 1e10, or they disagree, the
    log-det is computed by mpmath with enough digits (real matrices above 48 rows: by LU in
    extended precision, whose error is ``2^-11`` of that bound). One matrix at a time:
    batched LU in torch is never used.

    Cost: ``2 n^3`` flops plus the condition number; extended precision about ``n^3``
    nanoseconds, multi-precision ``n^3`` microseconds.
    """
    if not np.isfinite(matrix).all():
        return np.nan, np.inf
    narrow = matrix.astype(np.complex128 if np.iscomplexobj(matrix) else np.float64)
    largest, smallest = singular_extremes(narrow)
    if smallest == 0.0:
        return -np.inf, np.inf
    condition = largest / smallest
    if condition <= MULTIPRECISION_CONDITION:
        by_lu = float(np.linalg.slogdet(narrow)[1])
        R = np.linalg.qr(narrow, mode="r")
        by_qr = float(np.log(np.abs(np.diagonal(R))).sum())
        allowed = 2 * len(narrow) * np.finfo(np.float64).eps * (condition + abs(by_lu) + 1)
        if abs(by_qr - by_lu) <= allowed:
            return by_lu, condition
    real = not np.iscomplexobj(matrix)
    if real and HAS_EXTENDED and len(matrix) > _MOST_MULTIPRECISION:
        return extended_slogdet(matrix), condition
    return multiprecision_slogdet(matrix, condition), condition


def extended_slogdet(matrix: Array) -> float:
    """``log|det|`` by Gaussian elimination with partial pivoting in extended precision."""
    A = np.array(matrix, dtype=EXTENDED)
    total = EXTENDED(0)
    for j in range(len(A)):
        pivot = j + int(np.argmax(np.abs(A[j:, j])))
        if A[pivot, j] == 0:
            return -np.inf
        A[[j, pivot]] = A[[pivot, j]]
        total += np.log(np.abs(A[j, j]))
        A[j + 1 :, j + 1 :] -= np.outer(A[j + 1 :, j] / A[j, j], A[j, j + 1 :])
    return float(total)


def multiprecision_slogdet(matrix: Array, condition: float = 1e16) -> float:
    """``log|det|`` by Gaussian elimination in mpmath, with 30 digits more than are lost."""
    import mpmath

    lost = np.log10(condition) if np.isfinite(condition) else 300.0
    with mpmath.workdps(int(30 + max(lost, 0.0))):
        rows = mpmath.matrix([[_exact(entry) for entry in row] for row in matrix])
        determinant = mpmath.det(rows)
        if determinant == 0:
            return -np.inf
        return float(mpmath.log(abs(determinant)))


def _exact(entry: Any) -> Any:
    """Return a NumPy scalar of any width as an mpmath number without rounding."""
    import mpmath  # a fifth of a second at the start, which most reports do not need

    if np.iscomplexobj(entry):
        return mpmath.mpc(_exact(entry.real), _exact(entry.imag))
    high = float(entry)
    low = float(entry - np.asarray(high, dtype=np.asarray(entry).dtype))
    return mpmath.mpf(high) + mpmath.mpf(low)
