"""Test matrices, with their properties by multi-precision and exact arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import mpmath
import numpy as np

from emcheck.doctor.bounds import Array

#: Decimal digits of the multi-precision references: 1e13 (the worst condition number here)
#: leaves far more than the 17 digits of a float64.
DIGITS = 60

#: ``(batch, n)``: the sizes at which the known fault gives wrong numbers before those at
#: which it hangs.
SHAPES = ((4, 192), (2, 150), (8, 256), (8, 48), (3, 4))

#: Single precision at fewer sizes, since the references take most of the time.
SINGLE_PRECISION = ((4, 192), (8, 48))


@dataclass(frozen=True)
class Known:
    """A matrix with its exact sign and log-det, rounded once."""

    A: Array
    sign: float
    logdet: float


def sweep(
    double: str, single: str, more: tuple[tuple[int, int], ...] = ()
) -> Iterator[tuple[int, int, str]]:
    """``(batch, n, dtype)`` over all shapes in double and over fewer in single precision."""
    yield from ((batch, n, double) for batch, n in (*SHAPES, *more))
    yield from ((batch, n, single) for batch, n in (*SINGLE_PRECISION, *more))


def gaussian(batch: int, n: int, seed: int, dtype: str = "float64") -> Array:
    """``(batch, n, n)`` standard normal entries, real or complex, rounded to ``dtype``."""
    generator = np.random.default_rng(seed)
    A = generator.standard_normal((batch, n, n))
    if np.dtype(dtype).kind == "c":
        return (A + 1j * generator.standard_normal((batch, n, n))).astype(dtype)
    return A.astype(dtype)


def known_determinant(n: int, seed: int, rank: int = 4) -> Known:
    """``A = R (D + U V^T)``, R reversing the rows, D diagonal, all entries integers.

    ``det A = (-1)^(n(n-1)/2) prod(d) det(I + V^T D^-1 U)`` by the matrix determinant lemma:
    exact at any n for the price of a 4 x 4 determinant in multi-precision, while LU has to
    pivot in every column. Cost: ``n rank^2`` multi-precision operations.
    """
    generator = np.random.default_rng(seed)
    d = generator.integers(5, 10, n) * generator.choice([-1, 1], n)
    U, V = generator.integers(-2, 3, (2, n, rank))
    with mpmath.workdps(DIGITS):
        small = mpmath.eye(rank)
        for i, j in np.ndindex(rank, rank):
            terms = (mpmath.mpf(int(V[a, i] * U[a, j])) / int(d[a]) for a in range(n))
            small[i, j] += mpmath.fsum(terms)
        determinant = mpmath.fprod(int(entry) for entry in d) * mpmath.det(small)
        determinant *= (-1) ** (n * (n - 1) // 2)
        logdet = float(mpmath.log(abs(determinant)))
        sign = float(mpmath.sign(determinant))
    A = (np.diag(d) + U @ V.T)[::-1].astype(float)
    return Known(A, sign, logdet)


def multiprecision(A: Array) -> tuple[Known, Array]:
    """Sign, log-det and singular values (descending) of a small real matrix by mpmath."""
    with mpmath.workdps(DIGITS):
        exact = mpmath.matrix(A.tolist())
        determinant = mpmath.det(exact)
        singular = np.array([float(s) for s in mpmath.svd_r(exact, compute_uv=False)])
        known = Known(A, float(mpmath.sign(determinant)), float(mpmath.log(abs(determinant))))
    return known, np.sort(singular)[::-1]


def hilbert(n: int) -> Array:
    """``1 / (i + j + 1)``, rounded: condition 1.6e13 for n = 10."""
    index = np.arange(n)
    return np.asarray(1.0 / (index[:, None] + index + 1))
