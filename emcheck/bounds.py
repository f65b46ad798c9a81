"""The only numeric tolerances of the project: rounding bounds and their thresholds.

``u`` is the unit roundoff of the dtype under test, ``tiny`` its smallest normal number,
``gamma_m = m u / (1 - m u)`` (Higham, Accuracy and Stability of Numerical Algorithms, 2002,
chapter 3). Every check reports one number, error over bound, and compares it with the
threshold of its rule. A bound with threshold 1 is a theorem; 10 leaves room for the constants
that normwise theory does not track.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[Any]

#: rule -> largest ratio of error to bound that passes.
THRESHOLDS = {
    "T1": 1.0,  # forward, componentwise
    "T2": 1.0,  # inverse by substitution, componentwise backward error
    "T3": 1.0,  # round trip, componentwise
    "T4": 1.0,  # log-det from a diagonal
    "T5": 10.0,  # FFT layers, normwise
    "T6": 10.0,  # FFT log-det
    "T7": 10.0,  # dense 1x1, normwise per pixel
    "T8": 5.0,  # round trip from the Jacobian alone
    "T9": 10.0,  # log-det from the Jacobian alone
    "T10": 1.0,  # exponential of a convolution, entry by entry (first order)
    "T11": 1.0,  # low-rank updates inverted by the Woodbury identity, and their log-det
    "RUN": 1.0,  # running error analysis of a nonlinear layer or a chain (first order)
    "AGREE": 1.0,  # two computed values, each within its bound of the truth
    "FD": 1.0,  # a gradient against central differences
    "PROBE": 1.0,  # a log-det against random probes of a large Jacobian
    "MEAN": 1.0,  # the mean of random estimates
    "TOL": 1.0,  # an inverse of finite accuracy, by its tolerance
    "QUAD": 1.0,  # an integral by the trapezoid rule
    "EXACT": 0.0,  # bitwise equality, or a yes-or-no answer
}

#: First-order bounds mean nothing once the unit roundoff times the condition number reaches this.
ILL_CONDITIONED_FROM = 0.1

#: A float64 error this many times smaller than the float32 one points to cancellation inside the
#: layer, not to a fault: 2^29 is the ratio of the rounding units, 2^20 leaves nine bits.
CANCELLATION_FACTOR = 2.0**20

#: The share of a number that is lost with half of the digits of float32: the root of its unit.
HALF_OF_DIGITS = 2.0**-12

#: exp, sigmoid and log of the math libraries in use are accurate to 2 ulp, which is 4 u.
ELEMENTARY = 4

#: Most terms of the series of ``exp(S)`` with norm 1 or less that are not below the roundoff of the
#: result: ``1 / m! <= u exp(-2)`` holds from 19 on in float64, from 12 on in float32.
EXPONENTIAL_TERMS = 19

#: A gradient may differ from a central difference by this share of the terms that it sums, plus
#: four times the uncertainty of the difference itself.
FINITE_DIFFERENCE = 1e-6
DIFFERENCE_SPREAD = 4.0

#: Differences at three neighbouring steps that disagree by more than this share of the slope decide
#: nothing: the point is too close to a kink or to the edge of the domain, or the map is too steep.
DIFFERENCES_AGREE = 2.0**-10

#: Steps of central differences relative to the size of what is moved, in the order in which they
#: are tried. Each is an exponent of the unit roundoff, ``u^0.25`` first: truncation is about h^2,
#: rounding u / h, and the two balance at a third of the digits.
DIFFERENCE_STEPS = (0.25, 0.3, 0.35, 0.2, 0.4, 0.15, 0.45, 0.5)

#: A difference may be off by this many standard deviations of the scatter of the values, where they
#: scatter more than their size explains; errors of neighbouring values may be correlated.
DIFFERENCE_NOISE = 8.0

#: Rounding error of the difference of two sums of outputs, in units of ``u`` times their size.
DIFFERENCE_ROUNDING = 4.0

#: Diagnosis: a log-det and its prediction may each be off by one bound.
BOTH_SIDES = 2.0

#: Diagnosis: an offset solved from one sample carries the error of that sample; two on each side.
SOLVED = 4.0

#: Diagnosis: rounding error of a standard deviation over a batch, in units of ``eps`` per entry.
DEVIATION = 64.0

#: Diagnosis: a round trip that is off by more than this share of x is wrong, not approximate.
APPROXIMATE = 2.0**-4

#: Diagnosis: two approximate inverses err alike if neither error exceeds the other this many times.
ALIKE = 2.0

#: An estimate from 16 probes may be off by this many standard deviations, themselves estimated;
#: chance exceeds it twice in 1e5 (Student's t with 15 degrees of freedom).
PROBE_DEVIATIONS = 6.0

#: A counted share may be off by this many deviations; chance exceeds it less than once in 15,000.
SHARE_DEVIATIONS = 4.0

#: A least-squares fit with a relative residual below this has found an exact solution: the fit
#: stops at half the digits of float64.
EXACT_FIT = 2.0**-20

#: A converged Lanczos run shows no truncation error; this share of n allows for its rounding.
PROBE_FLOOR = 1e-9

#: Ritz values overestimate the smallest singular value: this factor corrects for it at 40 steps.
RITZ_SHARE = 0.5

#: The trapezoid rule for a Gaussian with spacing h errs by 2 exp(-2 pi^2 / h^2); what is cut
#: off beyond q standard deviations is erfc(q / sqrt 2). Both are below this for h = 0.75, q = 6.5.
QUADRATURE = 1e-8


#: If a change of the other samples moves a latent by this share of its size, rows are coupled:
#: rounding in float64 stays below it up to a condition number of 1e9.
COUPLED = 2.0**-20

#: A singular Jacobian has its singular values computed up to this many rows.
MOST_SINGULAR = 512

#: Most dimensions of an explicit Jacobian: 4096 rows are 128 MiB, and one LU takes seconds.
MOST_EXPLICIT = 4096


#: XLA's elementary functions are off by up to this many roundings, those of a C library by one: on
#: (-25, 25) the worst are sinh (18 in float64), power (9 in float32), tanh (7) and expm1 (6),
#: against extended precision (jaxlib 0.10 on a CPU).
XLA_UNITS = 16.0


#: Where Jacobians are taken by differences, each of the two values of a difference may be off by
#: this many roundings; a larger loss shows between neighbouring steps.
VALUE_ROUNDINGS = 8.0


@dataclass(frozen=True)
class Arithmetic:
    """The arithmetic a layer computes in: unit roundoff and smallest normal number."""

    u: float
    tiny: float

    @classmethod
    def of(cls, dtype: torch.dtype, device: str = "cpu") -> Arithmetic:
        """Return that of a dtype on a device; TF32 products carry 11 bits (``u = 2^-11``)."""
        info = torch.finfo(dtype)
        cuda = device.startswith("cuda") and dtype == torch.float32
        tf32 = torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32
        return cls(2.0**-11 if cuda and tf32 else info.eps / 2, info.tiny)

    def coarser(self, units: float) -> Arithmetic:
        """Return that of elementary functions that are off by ``units`` roundings, not one."""
        return Arithmetic(units * self.u, self.tiny)

    def gamma(self, m: int) -> float:
        """``m u / (1 - m u)``, infinite for ``m u >= 1``."""
        return m * self.u / (1 - m * self.u) if m * self.u < 1 else float("inf")


@dataclass(frozen=True)
class Measure:
    """Error over bound by one rule, and the condition number that belongs to it.

    ``got``, ``expected`` and ``bound`` are those of the worst entry: ``ratio`` is
    ``|got - expected| / bound``. A normwise rule has the norm of the error for ``got`` and 0 for
    ``expected``; a yes-or-no answer has none of the three (NaN). ``note`` marks a failure that is a
    FAIL only for this project's own layers, and a NOTE for all others.
    """

    ratio: float
    rule: str
    condition: float = float("nan")
    ill_conditioned: bool = False
    detail: str = ""
    got: float = float("nan")
    expected: float = float("nan")
    bound: float = float("nan")
    note: bool = False

    @property
    def threshold(self) -> float:
        return THRESHOLDS[self.rule]

    @property
    def ok(self) -> bool:
        return self.ratio <= self.threshold


def ratio(error: Any, bound: Any) -> float:
    """Return the largest ``|error| / bound``: 0/0 is 0, x/0 and NaN are infinite, no entries: 0."""
    quotients = _quotients(*np.broadcast_arrays(np.asarray(error), np.asarray(bound)))
    return float(quotients.max()) if quotients.size else 0.0


def _quotients(error: Array, bound: Array) -> Array:
    """Return ``|error| / bound`` entry by entry: 0/0 is 0, x/0 and NaN are infinite.

    A negative bound, which no error can meet, counts as 0; so does -0.0.
    """
    error, bound = np.abs(error), np.where(bound <= 0, 0.0, bound)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        quotient = np.where(error == 0, 0.0, error / bound)
    return np.asarray(np.where(np.isnan(quotient), np.inf, quotient))


def compare(
    got: Any,
    expected: Any,
    bound: Any,
    rule: str,
    condition: float = float("nan"),
    ill_conditioned: bool = False,
    detail: str = "",
) -> Measure:
    """Return ``|got - expected| / bound`` as a measure, with the numbers of the worst entry."""
    got, expected, bound = np.broadcast_arrays(*map(np.asarray, (got, expected, bound)))
    quotients = _quotients(difference(got, expected), bound)
    if quotients.size == 0:
        return Measure(0.0, rule, condition, ill_conditioned, detail)
    worst = np.unravel_index(int(np.argmax(quotients)), quotients.shape)
    numbers = [float(np.real(values[worst])) for values in (quotients, got, expected, bound)]
    quotient, value, wanted, limit = numbers
    return Measure(
        quotient, rule, condition, ill_conditioned, detail, got=value, expected=wanted, bound=limit
    )


def difference(got: Any, expected: Any) -> Array:
    """Return ``got - expected`` in the wider precision; equal infinities give 0."""
    got, expected = np.asarray(got), np.asarray(expected)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(got == expected, 0.0, got - expected))


def norm2(x: Array) -> Array:
    """Euclidean norm of each sample ``(B, ...)``, scaled against overflow and underflow."""
    flat = np.abs(x.reshape(len(x), -1))
    largest = flat.max(axis=1, initial=0.0)
    safe = np.where(largest > 0, largest, 1.0)
    return np.asarray(safe * np.sqrt(((flat / safe[:, None]) ** 2).sum(axis=1)))


def diagonal_logdet(log_abs: Array, pixels: int, arithmetic: Arithmetic) -> float:
    """T4: ``u ((C + 3) HW sum_c |log|d_c|| + 2 |ld|)`` for ``ld = HW sum_c log|d_c|``.

    Each logarithm is accurate to 2 ulp, which is 4 u relative, the sum of C terms to
    gamma_{C-1}, and the product with ``HW`` adds one rounding of the result.
    """
    if not np.isfinite(log_abs).all():
        return float("inf")
    absolute, total = np.abs(log_abs).sum(), np.abs(log_abs.sum())
    return float(arithmetic.u * ((len(log_abs) + 3) * pixels * absolute + 2 * pixels * total))


def dense_logdet(
    n: int, condition: float, pixels: int, logdet: float, arithmetic: Arithmetic
) -> float:
    """T7, T9: ``u (n kappa HW + 2 |ld|)``: LU is backward stable, d log|det| = tr(A^-1 dA)."""
    return arithmetic.u * (n * condition * pixels + 2 * abs(logdet))


def small_system(u: Array, v: Array, factors: tuple[Array, Array]) -> Array:
    """T11: bound the backward error of ``S = I + V U (d, d)`` in units of ``u``, entry by entry.

    ``(n + 1)(I + |V| |U|) + 3 d |L| |R|``: forming S takes ``n`` products and the sum with I;
    solving with its LU factors ``L``, rows in the order of S, and ``R`` errs by
    ``gamma_3d |L| |R|`` (Higham, chapter 9, theorem 9.4), which includes any growth.
    """
    d, n = v.shape
    L, R = (np.abs(factor) for factor in factors)
    return np.asarray((n + 1) * (np.eye(d) + np.abs(v) @ np.abs(u)) + 3 * d * (L @ R))


def low_rank_logdet(
    pivots: Array, inverse: Array, error: Array, vectors: int, arithmetic: Arithmetic
) -> float:
    """T11: ``u N (sum_ij |S^-1|_ji E_ij + (d + 3) sum |log|p_i|| + 4 |log|det S||)``, N vectors.

    ``d log|det S| = tr(S^-1 dS)`` with ``|dS| <= u E`` of :func:`small_system`. The logarithms of
    the pivots ``p`` and their sum round as in T4. The product with N and the sum over factors add
    at most four roundings.
    """
    with np.errstate(divide="ignore"):
        logs = np.log(np.abs(pivots))
    rounding = (len(pivots) + 3) * np.abs(logs).sum() + 4 * np.abs(logs.sum())
    return float(arithmetic.u * vectors * ((np.abs(inverse).T * error).sum() + rounding))


def fourier_logdet(spectrum: Array, norm: float, levels: float, arithmetic: Arithmetic) -> float:
    """T6: ``u (log2 HW + C) sum_i (S / s_i + |log s_i|)`` over all singular values.

    The first term is the error that the FFT and the factorisations make in ``s_i``. The second
    is the rounding of the logarithms and of their sum, C terms in a row, then ``log2 HW`` levels
    of pairs: without it a kernel scaled by 2^500, whose ``S / s_i`` stays the same while the
    log-det grows, exceeds the bound tenfold.
    """
    with np.errstate(divide="ignore"):
        terms = norm / spectrum + np.abs(np.log(spectrum))
    return float(arithmetic.u * levels * terms.sum())


def jacobian_round_trip(
    largest: float, smallest: float, x: Array, z: Array, arithmetic: Arithmetic
) -> float:
    """T8: ``u sqrt(n) ||J^-1|| (||J|| ||x|| + ||z||)`` in the 2-norm.

    ``largest`` and ``smallest`` are the extreme singular values of ``J``; ``x`` and ``z`` have
    n entries each.

    The layer is only assumed to be stable: forward and inverse each err by a few
    ``u ||J|| ||x||`` and ``u ||z||`` in the latent, which ``J^-1`` carries back. The
    componentwise form (``|J^-1| |J| |x|``) would be false: an FFT or a product of
    reflections is stable in norm only, and correct QR and periodic layers exceed the
    componentwise form by up to 2.5 times its threshold. ``sqrt(n)`` is the growth of
    independent roundings in a sum of n terms: without it, correct QR layers reach 5.3 of 5.
    """
    of_x, of_z = (float(np.linalg.norm(np.asarray(v, np.float64))) for v in (x, z))
    return float(arithmetic.u * np.sqrt(np.size(x)) * (largest * of_x + of_z) / smallest)


def jacobian_forward(J: Array, x: Array, z: Array, arithmetic: Arithmetic, terms: int = 1) -> Array:
    """T8 for forward: ``5 u (|J| |x| + |z|)`` entry by entry, at least its norm over sqrt n.

    With ``m`` the ``terms`` of the longest sum inside the layer, ``sqrt(m)`` replaces 5 where it is
    larger: the Jacobian does not show the sums of a wide hidden layer.

    A layer that is stable in norm only (an FFT, a product of reflections) spreads its errors over
    all entries alike.
    """
    narrow = [np.abs(np.asarray(v, np.float64)).reshape(-1) for v in (x, z)]
    size = np.abs(J) @ narrow[0] + narrow[1]
    size = np.maximum(size, np.linalg.norm(size) / np.sqrt(max(len(size), 1)))
    return np.asarray(max(THRESHOLDS["T8"], float(np.sqrt(terms))) * arithmetic.u * size)


def largest_logdet(singular: Array, arithmetic: Arithmetic) -> float:
    """``sum_i log(s_i + n u s_max)``: no matrix within rounding of this one has a larger one.

    A perturbation of norm ``n u s_max`` moves no singular value by more than that (Weyl); the
    threshold of T9 leaves room for the layer's own rounding.
    """
    n, largest = len(singular), float(singular.max(initial=0.0))
    room = THRESHOLDS["T9"] * n * arithmetic.u * largest
    return float(np.log(singular + room).sum()) if largest > 0 else -np.inf


def probed_logdet(deviation: float, truncation: float, n: int, log_condition: float) -> float:
    """Bound the error of a log-det from probes: six deviations, six truncations, and rounding."""
    rounding = PROBE_FLOOR * n * (1 + abs(log_condition))
    return PROBE_DEVIATIONS * deviation + PROBE_DEVIATIONS * truncation + rounding


def empirical_bernstein(draws: Array, most: float) -> float:
    """Bound the error of the mean of independent draws from ``[0, most]``; wrong once in 1e7.

    ``sqrt(2 V L / N) + 7 most L / (3 (N - 1))`` with the sample variance ``V`` and
    ``L = log(4 / 1e-7)``, whatever the distribution.

    Reference: Maurer and Pontil, Empirical Bernstein Bounds, COLT 2009.
    """
    L, N = math.log(4 / SELDOM), len(draws)
    return math.sqrt(2 * float(draws.var(ddof=1)) * L / N) + 7 * most * L / (3 * (N - 1))


def too_ill(condition: float, weight: float) -> bool:
    """Whether first-order error bounds have lost their meaning: ``weight cond >= 0.1``."""
    return not weight * condition < ILL_CONDITIONED_FROM


def numerically_singular(largest: float, smallest: float, n: int, arithmetic: Arithmetic) -> bool:
    """Whether the smallest of ``n`` singular values is below ``n u s_max`` (or not finite)."""
    return not smallest >= n * arithmetic.u * largest


#: An inverse of finite accuracy takes its log-det some steps before it stops: with
#: ``exact_inverse=False`` that may be off by this many times its change over the last steps.
LAST_STEPS = 16.0

#: An inverse may be off by the first number of its tolerances. Where the tolerance can be set, it
#: may at tighter ones be off by that many times what it was at the loosest, but by no more than the
#: second number: a step of one tolerance leaves an error of several where convergence is slow.
TOLERANCES_OFF = 10.0
MOST_TOLERANCES_OFF = 1e3

#: The mean of estimates may be off by this many standard errors: a normal mean exceeds it with
#: probability 2e-9, and a mean that does is drawn anew before it counts.
DEVIATIONS = 6.0

#: An integral on a grid may be off by this, besides its change from half as many points.
GRID_SHARE = 1e-4

#: An integral with a larger uncertainty than this decides nothing.
MOST_UNKNOWN = 0.2

#: The largest weight of one draw in an integral by draws, and how rarely its bound is wrong.
MOST_WEIGHT = 30.0
SELDOM = 1e-7

#: Mass beyond the box of all samples that is not a tail: ``log_prob`` is finite there.
SEEN_BEYOND = 0.1

#: Relative error allowed for the log-density of an integrated or truncated log-det.
INEXACT_LOG_PROB = 2.0**-10

#: A log-det by differences with a larger uncertainty than this cannot judge ``log_prob``.
LOGDET_KNOWN = 0.01

#: A Jacobian by differences is fast up to this many dimensions: 36 evaluations for each.
MOST_DIFFERENCES = 64

#: A kernel decides nothing unless its share is known to one over the root of the first number, and
#: explains nothing unless it is known to the second, both relative to the share.
FEWEST = 100.0
KNOWN_TO = 0.05

#: One weight may be at most this share of the number of weights before nothing is decided.
LARGEST_SHARE = 0.02

#: Two trial calls that differ by less than this share are one map called in two ways; a log-det
#: this close to that of the Jacobian is meant to equal it.
RECOGNISED = 2.0**-10

#: If forward returns a latent to within this share of its size, the latent was really inverted, and
#: the Jacobian of forward is the one to judge by.
INVERTED = 2.0**-12
