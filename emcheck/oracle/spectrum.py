"""Largest and smallest singular value of a matrix, exactly or by iteration."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
T = TypeVar("T")

#: Up to this size singular values take less than a second and are computed exactly.
_EXACT = 512

#: Results for matrices up to this size are cached: many checks use the same Jacobian.
_KEPT = 64

#: Steps of power iteration: the largest singular value of a matrix without a gap is then too low by
#: a few per cent, which does not matter to rounding bounds with a factor n.
_STEPS = 30


def cached_by_content(function: Callable[[Array], T]) -> Callable[[Array], T]:
    """Cache a function of one matrix by the numbers in the matrix.

    The last 256 small matrices in float64 are recognised by their bytes.
    """

    @functools.lru_cache(maxsize=256)
    def of_numbers(numbers: bytes, shape: tuple[int, ...]) -> T:
        return function(np.frombuffer(numbers, np.float64).reshape(shape))

    @functools.wraps(function)
    def of_matrix(matrix: Array) -> T:
        matrix = np.asarray(matrix)
        if matrix.dtype == np.float64 and len(matrix) <= _KEPT:
            return of_numbers(matrix.tobytes(), matrix.shape)
        return function(matrix)

    return of_matrix


@cached_by_content
def singular_extremes(J: Array) -> tuple[float, float]:
    """``(s_max, s_min)`` of a square matrix, real or complex; ``(inf, 0)`` if not finite.

    Up to 512 rows by SVD, beyond that by power iteration on ``J^T J`` and its inverse.

    Cost: ``n^3`` flops for the SVD; one LU and ``120 n^2`` flops for the iteration.
    """
    if not np.isfinite(J).all():
        return np.inf, 0.0
    if len(J) <= _EXACT:
        singular = np.linalg.svd(J, compute_uv=False)
        return (float(singular[0]), float(singular[-1])) if singular.size else (1.0, 1.0)
    import scipy.linalg  # a quarter of a second that small matrices do not need

    largest = _largest(lambda v: J.conj().T @ (J @ v), len(J))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.linalg.LinAlgWarning)  # a zero pivot is an answer
        lu, pivots = scipy.linalg.lu_factor(J, check_finite=False)
    if not np.abs(np.diagonal(lu)).min() > 0:
        return largest, 0.0

    def solve(v: Array) -> Array:
        half = scipy.linalg.lu_solve((lu, pivots), v, trans=2, check_finite=False)
        return np.asarray(scipy.linalg.lu_solve((lu, pivots), half, check_finite=False))

    return largest, 1.0 / _largest(solve, len(J))


def _largest(square: Callable[[Array], Array], n: int) -> float:
    """Return the square root of the largest eigenvalue of a symmetric positive operator."""
    v = np.random.default_rng(0).standard_normal(n)
    value = 0.0
    for _ in range(_STEPS):
        v = square(v / np.linalg.norm(v))
        value = float(np.linalg.norm(v))
        if value == 0 or not np.isfinite(value):
            return value if value == 0 else np.inf
    return float(np.sqrt(value))


def condition_number(J: Array) -> float:
    """Return the 2-norm condition number, infinite if singular or not finite."""
    largest, smallest = singular_extremes(J)
    return largest / smallest if smallest > 0 else np.inf


def inverse_matrix(J: Array) -> Array:
    """Return ``J^-1`` in float64, ``(n, n)``; infinite entries if singular."""
    narrow = np.asarray(J, dtype=np.float64)
    try:
        return np.asarray(np.linalg.inv(narrow))
    except np.linalg.LinAlgError:
        return np.full_like(narrow, np.inf)
