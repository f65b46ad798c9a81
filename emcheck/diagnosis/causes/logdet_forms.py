"""Log-dets by a wrong formula: a stabiliser, a constant, ``|log s|``, a series cut short."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from emcheck.bounds import SOLVED
from emcheck.diagnosis.causes.logdet_factors import WRONG
from emcheck.diagnosis.causes.logdet_terms import wrong_directions
from emcheck.diagnosis.consequences import LOGDET
from emcheck.diagnosis.evidence.logdets import LogdetExample
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.rank import MECHANISM, Fit, hypothesis
from emcheck.oracle.precision import Array

Examples = Sequence[LogdetExample]


def samples_of(examples: Examples, inverse: bool) -> list[tuple[Array, float, float, float]]:
    """Return (J of forward, got, expected, bound) of each sample, as log-dets of forward."""
    found = []
    for e in examples:
        for n in range(len(e.got)):
            J = np.linalg.inv(e.jacobians[n]) if inverse else e.jacobians[n]
            turned = -1.0 if inverse else 1.0
            found.append((J, turned * e.got[n], turned * e.expected[n], float(e.bound[n])))
    return found


def _wrong(evidence: Evidence) -> Iterator[tuple[list[tuple[Array, float, float, float]], str]]:
    """Yield the samples of each wrong direction and its name, if four or more, all finite."""
    for examples, which in wrong_directions(evidence):
        samples = samples_of(examples, inverse=which != "forward")
        if len(samples) >= 4 and all(math.isfinite(got) for _, got, _, _ in samples):
            yield samples, which


def _diagonal(J: Array) -> Array | None:
    """Return the absolute diagonal of a triangular matrix, or None."""
    size = np.abs(J).max() * len(J) * np.finfo(np.float64).eps
    lower, upper = np.abs(np.triu(J, 1)).max(), np.abs(np.tril(J, -1)).max()
    return np.abs(np.diagonal(J)) if min(lower, upper) <= size else None


def diagonal_in_time(J: Array, event: tuple[int, ...]) -> Array | None:
    """Like ``_diagonal``, also for a matrix that is triangular with the last axis (time) first."""
    found = _diagonal(J)
    if found is not None or len(event) < 2:
        return found
    order = np.moveaxis(np.arange(len(J)).reshape(event), -1, 0).reshape(-1)
    turned = _diagonal(J[np.ix_(order, order)])
    if turned is None:
        return None
    back = np.empty(len(J))
    back[order] = turned
    return back


@hypothesis("stabiliser_in_logdet", rank=MECHANISM - 3, when=WRONG, explains=LOGDET)
def stabiliser_in_logdet(evidence: Evidence) -> Iterator[Fit]:
    """The log-det is ``log(|det| + eps)``, of the map or per pixel, or ``sum log(slope + eps)``."""
    for samples, which in _wrong(evidence):
        pixels = math.prod(evidence.base.event[1:])
        ways: tuple[tuple[str, str, Solver], ...] = (
            ("to the determinant", "|det| + eps", partial(_whole, 1)),
            ("to the determinant of each pixel", "|det| + eps", partial(_whole, pixels)),
            ("to every slope", "slope + eps", _slopes),
            ("to every slope", "slope + eps", partial(_slopes, moved=True)),
        )
        one_size = [s for s in samples if len(s[0]) == math.prod(evidence.base.event)]
        for told, place, solve in ways:
            found = [solve(*sample) for sample in one_size]
            known = [one for one in found if one is not None]
            if len(known) != len(found):
                continue
            eps = np.array([value for value, _ in known])
            rounding = max(spare for _, spare in known)
            middle = float(np.median(eps))
            wrong = abs(middle) > 64 * rounding and not -(2.0**-20) < middle < 0
            varies = np.ptp([got - expected for _, got, expected, _ in samples]) > 64 * max(
                bound for _, _, _, bound in samples
            )
            if wrong and varies and np.ptp(eps) <= SOLVED * rounding:
                yield Fit(
                    "stabiliser_in_logdet",
                    f"The log-det of {which} adds eps = {middle:.4g} {told} before the "
                    f"logarithm, a stabiliser that is no part of the map: log({place}).",
                    f"solved from the log-det, eps is {middle:.9g} in {len(eps)} of {len(eps)} "
                    f"samples (spread {np.ptp(eps):.1g})",
                )
                return


#: Solves for a stabiliser: (J, got, expected, bound) -> its value and the error of the value.
Solver = Callable[[Array, float, float, float], tuple[float, float] | None]


def _whole(
    count: int, J: Array, got: float, expected: float, bound: float
) -> tuple[float, float] | None:
    """Solve ``got = count log(exp(expected / count) + eps)`` for eps; return it and its error."""
    if max(abs(got), abs(expected)) > 30 * count:
        return None
    size, other = math.exp(expected / count), math.exp(got / count)
    return other - size, (bound + 2**-50) * max(size, other)


def _slopes(
    J: Array, got: float, expected: float, bound: float, moved: bool = False
) -> tuple[float, float] | None:
    """Solve ``got = sum log(d_i + eps)``, ``d`` the slopes, for eps by bisection.

    With ``moved``, slopes of 1 are left out: a coupling has them where it keeps its input.
    """
    d = _diagonal(J)
    if d is not None and moved:
        d = d[d != 1]
    if d is None or not len(d):
        return None
    low, high = -0.5 * float(d.min()), 1.0

    def total(eps: float) -> float:
        return float(np.log(d + eps).sum())

    if not total(low) <= got <= total(high):
        return None
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if total(middle) < got else (low, middle)
    slope = float((1 / (d + low)).sum())
    return (low + high) / 2, (bound + 2**-50 * (1 + abs(got))) / slope


@hypothesis("constant_missing", rank=MECHANISM - 4, when=WRONG, explains=LOGDET)
def constant_missing(evidence: Evidence) -> Iterator[Fit]:
    """The log-det is off by a constant per sample, entry or pixel, for any x and parameters."""
    for examples, which in wrong_directions(evidence):
        rates: dict[str, list[float]] = {"sample": [], "entry": [], "pixel": []}
        spare, varied = 0.0, []
        for e in examples:
            n = math.prod(e.case.event)
            counts = {"sample": 1, "entry": n, "pixel": n // e.case.event[0]}
            for name, count in counts.items():
                rates[name] += list((e.got - e.expected) / count)
            spare = max(spare, float(e.bound.max()))
            varied += list(e.expected)
        if len(varied) < 4 or np.ptp(varied) <= 16 * spare:
            continue
        for name, values in rates.items():
            c = float(np.median(values))
            if np.ptp(values) <= SOLVED * spare and abs(c) > max(64 * spare, 2.0**-20):
                way = "too large" if c > 0 else "too small"
                each = "" if name == "sample" else f" per {name}"
                number = f"{abs(c):.6g}{each}, the logarithm of {math.exp(abs(c)):.6g}"
                n = math.prod(evidence.base.event)
                if name == "sample" and n > 1:
                    number += f" ({abs(c) / n:.6g} per entry, log {math.exp(abs(c) / n):.6g})"
                yield Fit(
                    "constant_missing",
                    f"The log-det of {which} is {way} by the same number in every sample: a "
                    f"constant is missing or too much, {number}.",
                    f"got - expected = {c:.9g}{each} in {len(values)} of {len(values)} samples, "
                    "whatever the data and the parameters",
                )
                return


@hypothesis("absolute_of_log", rank=MECHANISM - 3, when=WRONG, explains=LOGDET)
def absolute_of_log(evidence: Evidence) -> Iterator[Fit]:
    """The log-det is ``sum |log s|`` over slopes or singular values s, not ``sum log |s|``."""
    for samples, which in _wrong(evidence):
        for name, values in (("slopes", _diagonal), ("singular values", _singular)):
            kept = [values(J) for J, _, _, _ in samples]
            if any(v is None for v in kept):
                continue
            told = [float(np.abs(np.log(v)).sum()) for v in kept if v is not None]
            mixed = sum(
                bool(((v < 1) & (v > 0)).any() and (v > 1).any()) for v in kept if v is not None
            )
            for sign in (1.0, -1.0):
                if mixed >= 2 and all_fit(samples, [sign * t for t in told]):
                    yield Fit(
                        "absolute_of_log",
                        f"The log-det of {which} sums |log s| over the {name} s where log|s| is "
                        "due: those below one count with the wrong sign.",
                        f"sum |log s| = got in {len(told)} of {len(told)} samples; got "
                        f"{samples[0][1]:.9g}, expected {samples[0][2]:.9g}",
                    )
                    return


def _singular(J: Array) -> Array:
    return np.linalg.svd(J, compute_uv=False)


def all_fit(samples: Sequence[tuple[Array, float, float, float]], told: Sequence[float]) -> bool:
    """Whether each prediction equals ``got``, and two or more clearly differ from ``expected``."""
    limits = [SOLVED * bound * (1 + abs(t)) for (*_, bound), t in zip(samples, told, strict=True)]
    pairs = list(zip(samples, told, limits, strict=True))
    fits = all(abs(got - t) <= limit for (_, got, _, _), t, limit in pairs)
    telling = sum(abs(t - expected) > 2 * limit for (_, _, expected, _), t, limit in pairs)
    return fits and telling >= 2


@hypothesis("series_cut_short", rank=MECHANISM - 3, when=WRONG, explains=LOGDET)
def series_cut_short(evidence: Evidence) -> Iterator[Fit]:
    """The log-det is a truncated series ``sum_k (-1)^(k+1) tr(M^k) / k``, with ``M = J - I``."""
    for samples, which in _wrong(evidence):
        if all(abs(got) <= SOLVED * bound for _, got, _, bound in samples):
            continue  # 0 is the first term of any map with ones on the diagonal
        for turned in (1.0, -1.0):
            for terms in range(1, 33):
                told = [turned * _series(J, terms, turned) for J, _, _, _ in samples]
                if all_fit(samples, told):
                    yield Fit(
                        "series_cut_short",
                        f"The log-det of {which} is a power series cut after {terms} "
                        f"term{'s' if terms > 1 else ''}: an approximation.",
                        f"sum of (-1)^(k+1) tr(M^k) / k up to k = {terms}, M = J - I, equals got "
                        f"in {len(told)} of {len(told)} samples; got {samples[0][1]:.9g}, "
                        f"expected {samples[0][2]:.9g}",
                    )
                    return


def _series(J: Array, terms: int, turned: float) -> float:
    M = (J if turned > 0 else np.linalg.inv(J)) - np.eye(len(J))
    power, total = np.eye(len(J)), 0.0
    for k in range(1, terms + 1):
        power = power @ M
        total -= (-1) ** k * float(np.trace(power)) / k
    return total
