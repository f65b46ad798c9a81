"""NumPy and SciPy, on which the oracles rely, against exact and multi-precision results."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.linalg

from emcheck.doctor import bounds
from emcheck.doctor.bounds import NORMWISE, Array
from emcheck.doctor.case import Case
from emcheck.doctor.matrices import Known, gaussian, hilbert, known_determinant, multiprecision

SIZES = (192, 150, 256, 48, 4)
U = bounds.unit_roundoff(np.float64)


def logdet_case(label: str, sign: float, logdet: float, known: Known, condition: float) -> Case:
    """Sign and log-det of one float64 matrix; a wrong sign is an infinite error."""
    ratio = bounds.logdet_ratio(abs(logdet - known.logdet), known.logdet, condition, U)
    right = sign == known.sign
    return Case(f"{label} n={len(known.A)}", ratio if right else float("inf"), NORMWISE)


def exactly_known() -> Iterator[tuple[Known, float]]:
    """Yield matrices of known log-det with their kappa_F: small, ill-conditioned, large."""
    for A in (gaussian(1, 4, seed=1)[0], hilbert(8), hilbert(10)):
        known, singular = multiprecision(A)
        yield known, float(np.linalg.norm(singular) * np.linalg.norm(1 / singular))
    for n in SIZES:
        known = known_determinant(n, seed=n)
        yield known, bounds.condition(known.A, np.linalg.inv(known.A))


def _wide(matrix: Array) -> Array:
    """Convert to extended precision, in which NumPy multiplies without the BLAS under test."""
    return matrix.astype(np.clongdouble if np.iscomplexobj(matrix) else np.longdouble)


def numpy_linalg() -> Iterator[Case]:
    """``numpy.linalg``: slogdet, svd, solve and inv, one matrix at a time."""
    for known, condition in exactly_known():
        sign, logdet = np.linalg.slogdet(known.A)
        yield logdet_case("slogdet", float(sign), float(logdet), known, condition)
    for A in (gaussian(1, 6, seed=2)[0], hilbert(8)):
        ratio = bounds.singular_value_ratio(
            np.linalg.svd(A, compute_uv=False), multiprecision(A)[1], U
        )
        yield Case(f"svd n={len(A)}", ratio, NORMWISE)
    for n in (192, 48, 4):
        for dtype in ("float64", "complex128"):
            A, B = gaussian(2, n, seed=n, dtype=dtype)
            wide, label = _wide(A), f"n={n} {dtype}"
            X = _wide(np.linalg.solve(A, B[:, :4]))
            yield Case(f"solve {label}", bounds.solve_ratio(wide, X, B[:, :4], U), NORMWISE)
            X = _wide(np.linalg.inv(A))
            yield Case(f"inv {label}", bounds.inverse_ratio(wide, X, U), NORMWISE)


def scipy_lu() -> Iterator[Case]:
    """``scipy.linalg``: lu_factor, lu_solve and solve_triangular."""
    for known, condition in exactly_known():
        factors, pivots = scipy.linalg.lu_factor(known.A)
        diagonal = np.diagonal(factors)
        swaps = int((pivots != np.arange(len(pivots))).sum())
        sign = float(np.prod(np.sign(diagonal))) * (-1) ** swaps
        logdet = float(np.log(np.abs(diagonal)).sum())
        yield logdet_case("lu_factor", sign, logdet, known, condition)
    for n in (192, 48, 4):
        A, B = gaussian(2, n, seed=n)
        X = _wide(scipy.linalg.lu_solve(scipy.linalg.lu_factor(A), B[:, :4]))
        yield Case(f"lu_solve n={n}", bounds.solve_ratio(_wide(A), X, B[:, :4], U), NORMWISE)
        T = np.tril(A) + n * np.eye(n)
        X = _wide(scipy.linalg.solve_triangular(T, B[:, :4], lower=True))
        ratio = bounds.solve_ratio(_wide(T), X, B[:, :4], U)
        yield Case(f"solve_triangular n={n}", ratio, NORMWISE)
