"""The doctor's only numeric tolerances: rounding bounds with their derivations.

``u`` is the unit roundoff of the dtype under test, ``eps = 2 u``, ``n`` the order of the
matrix and ``gamma_m = m u / (1 - m u)`` (Higham, Accuracy and Stability of Numerical
Algorithms, 2002, chapter 3). Kept apart from ``emcheck.bounds`` so that the self-tests import
nothing that they have not tested yet, torch included.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

#: Threshold of a componentwise bound with explicit constants, which is a theorem.
COMPONENTWISE = 1.0

#: Threshold of a normwise bound: room for the constants that the theory leaves open (growth
#: factor, complex arithmetic, the error of a reference in the same precision), as in rule T7.
NORMWISE = 10.0

#: Threshold for integer data with sums below 2^53: no rounding, so only a zero error passes.
EXACT = 0.0

#: From this kappa_F u on, the first-order bound of a log-det means nothing, and a reference
#: that (wrongly) claims such a condition number would pass anything.
ILL_CONDITIONED_FROM = 0.1


def unit_roundoff(dtype: Any) -> float:
    """``u = eps / 2`` of a real or complex NumPy dtype."""
    return float(np.finfo(dtype).eps) / 2


def gamma(m: int, u: float) -> float:
    """``gamma_m = m u / (1 - m u)``."""
    return m * u / (1 - m * u)


def worst(error: Array | float, bound: Array | float) -> float:
    """Return ``max error / bound`` with 0/0 = 0, and infinity for x/0 or NaN."""
    error, bound = np.broadcast_arrays(np.asarray(error, float), np.asarray(bound, float))
    sound = np.isfinite(error) & np.isfinite(bound) & (bound >= 0)
    if not sound.all():
        return math.inf
    ratios = np.divide(error, bound, out=np.full(error.shape, math.inf), where=bound > 0)
    return float(np.where(error == 0, 0.0, ratios).max(initial=0.0))


def condition(A: Array, inverse: Array) -> float:
    """``kappa_F = ||A||_F ||A^-1||_F``, at most n times the condition number kappa_2."""
    return float(np.linalg.norm(A) * np.linalg.norm(inverse))


def logdet_ratio(error: float, true: float, condition: float, u: float) -> float:
    """``|ld - ld*| / (u (kappa_F + 2 |ld*|))``: rule T7 with kappa_F for its ``n kappa_2``.

    LU is exact for ``A + E`` with ``|E| <= gamma_n |L||U|``, in practice ``||E||_F`` of the
    size of ``u ||A||_F``, and ``d log|det A| = trace(A^-1 E) <= ||A^-1||_F ||E||_F``. The
    logarithms and their sum add ``|ld*|`` each. As ``kappa_F <= n kappa_2``, this is never
    looser than the rule.
    """
    if not condition * u < ILL_CONDITIONED_FROM:
        return math.inf
    return worst(error, u * (condition + 2 * abs(true)))


def _norm1(matrix: Array) -> float:
    return float(np.abs(matrix).sum(axis=0).max())


def solve_ratio(A: Array, X: Array, B: Array, u: float) -> float:
    """Rule T7 per column: ``||b - A x||_1 / (n ||A||_1 ||x||_1 eps)``.

    The backward error of a solve (LAPACK's test GET02). Formed in float64, where the
    rounding of the residual itself adds at most ``gamma_n ||A|| ||x||``: 0.5 to the ratio.
    """
    residual = np.abs(B - A @ X).sum(axis=0)
    return worst(residual, len(A) * _norm1(A) * np.abs(X).sum(axis=0) * 2 * u)


def inverse_ratio(A: Array, X: Array, u: float) -> float:
    """``||I - A X||_1 / (n ||A||_1 ||X||_1 eps)``: LAPACK's test GET03 of an inverse."""
    return worst(_norm1(np.eye(len(A)) - A @ X), len(A) * _norm1(A) * _norm1(X) * 2 * u)


def product_ratio(A: Array, product: Array, u: float) -> float:
    """``||A - F G||_1 / (n ||A||_1 eps)``: LAPACK's test QRT01 of a factorisation."""
    return worst(_norm1(A - product), len(A) * _norm1(A) * 2 * u)


def orthogonality_ratio(Q: Array, u: float) -> float:
    """``||I - Q^H Q||_1 / (n eps)``: LAPACK's test QRT01 of an orthogonal factor."""
    return worst(_norm1(np.eye(len(Q)) - Q.conj().T @ Q), len(Q) * 2 * u)


def singular_value_ratio(found: Array, true: Array, u: float) -> float:
    """``|s - s*| / (n u s_max)``: Weyl's theorem for a backward stable SVD."""
    return worst(np.abs(found - true), len(true) * u * float(np.max(true)))


def fft_ratio(found: Array, true: Array, u: float) -> float:
    """``||y - y*||_2 / (u log2(N) ||y*||_2)`` over the last two axes, N points (T5).

    An FFT of N = 2^t points errs by at most ``t (sqrt(2) gamma_4 + mu) ||y*||`` (Higham
    2002, theorem 24.2), of order ``t u``; for other lengths the constant is larger.
    """
    axes = (-2, -1)
    points = max(2, true.shape[-2] * true.shape[-1])
    error = np.sqrt((np.abs(found - true) ** 2).sum(axis=axes))
    size = np.sqrt((np.abs(true) ** 2).sum(axis=axes))
    return worst(error, u * math.log2(points) * size)


def sum_ratio(found: Array, true: Array, absolute: Array, terms: int, u: float) -> float:
    """Rule T1: ``|y - y*| / ((gamma_{m+1}(u) + gamma_m(u')) sum |w||x|)`` for m terms.

    A sum of m products errs by at most ``gamma_m sum |w||x|`` in any order; storing adds one
    rounding. ``u'`` is that of the reference, formed in ``longdouble``.
    """
    reference = unit_roundoff(np.longdouble)
    return worst(np.abs(found - true), (gamma(terms + 1, u) + gamma(terms, reference)) * absolute)
