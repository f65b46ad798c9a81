"""The statistics of the report: medians with intervals, slow rounds, growth exponents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

#: Every interval of the report is a 95 % interval.
LEVEL = 0.95
RESAMPLES = 4000
#: Below six rounds even [min, max] holds the median with less than 95 % (1 - 2^(1-5) = 0.94).
FEWEST_ROUNDS = 6
#: A straight line needs a third point before it has an interval.
FEWEST_POINTS = 3

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """A median and what surrounds it; ``interval`` says what ``low`` and ``high`` are."""

    median: float
    low: float
    high: float
    interval: str
    slow_rounds: int
    max_over_median: float


def resampled_medians(values: Sequence[float] | Floats, seed: int = 0) -> Floats:
    """Medians of ``RESAMPLES`` bootstrap resamples of ``values``, without drawing them.

    A resample takes ``x_(ceil(n U))`` for n uniform U, and that is monotone in U, so its
    order statistics are ``x_(ceil(n U_(m)))``. Hence only the one or two middle uniforms are
    drawn: ``U_(m) ~ Beta(m, n - m + 1)``, and given it, ``U_(m+1) = 1 - (1 - U_(m)) V`` with
    ``V ~ Beta(n - m, 1)``. Cost: O(n log n + RESAMPLES), whatever the number of rounds.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n = len(ordered)
    rng = np.random.default_rng(seed)
    m = (n + 1) // 2
    lower = rng.beta(m, n - m + 1, RESAMPLES)
    upper = lower if n % 2 else 1 - (1 - lower) * rng.beta(n - m, 1, RESAMPLES)
    picked = [np.minimum((u * n).astype(np.int64), n - 1) for u in (lower, upper)]
    medians: Floats = (ordered[picked[0]] + ordered[picked[1]]) / 2
    return medians


def interval_of(samples: Floats) -> tuple[float, float]:
    """The central 95 % of the samples."""
    low, high = np.quantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def median_interval(data: Floats, seed: int = 0) -> tuple[float, float]:
    """The bootstrap interval of the median, each end moved out to the next round.

    The percentile interval of a median covers too little: for odd n from 7 to 199 its exact
    coverage, 1 - 2 P(Bin(n, 1/2) < k) where it ends at the k-th round, is 87 to 97 %. One round
    further out at each end it is at least 96 %.
    """
    low, high = interval_of(resampled_medians(data, seed))
    return float(data[data < low].max(initial=data.min())), float(
        data[data > high].min(initial=data.max())
    )


def spread(values: Sequence[float], median: float, seed: int = 0) -> Spread:
    """Median, bootstrap interval and slow rounds (beyond Q3 + 1.5 IQR) of one cell.

    Without round data the given ``median`` is all there is.
    """
    nan = float("nan")
    if not len(values):
        return Spread(median, nan, nan, "not available (no round data)", 0, nan)
    data = np.asarray(values, dtype=np.float64)
    centre = float(np.median(data))
    first, third = (float(q) for q in np.quantile(data, [0.25, 0.75]))
    slow = int(np.sum(data > third + 1.5 * (third - first)))
    worst = float(data.max()) / centre if centre > 0 else nan
    if len(data) < FEWEST_ROUNDS:
        kind = f"range of {len(data)} rounds"
        return Spread(centre, float(data.min()), float(data.max()), kind, slow, worst)
    low, high = median_interval(data, seed)
    return Spread(centre, low, high, "95% bootstrap", slow, worst)


def ratio_interval(top: Sequence[float], bottom: Sequence[float]) -> tuple[float, float]:
    """A 95 % bootstrap interval of median(top) / median(bottom); NaN with too few rounds."""
    if min(len(top), len(bottom)) < FEWEST_ROUNDS:
        return float("nan"), float("nan")
    below = resampled_medians(bottom, seed=1)
    if not below.min() > 0:
        return float("nan"), float("nan")
    return interval_of(resampled_medians(top, seed=2) / below)


@dataclass(frozen=True)
class Growth:
    """A fit of time = c pixels^exponent; ``misfit`` is the largest factor off the line."""

    exponent: float
    low: float
    high: float
    points: int
    misfit: float


def fit_growth(pixels: Sequence[float], seconds: Sequence[float]) -> Growth:
    """Least squares of log seconds on log pixels, with Student's t interval of the slope.

    Two points give a slope and no interval, fewer give nothing.
    """
    nan = float("nan")
    points = len(pixels)
    if len(set(pixels)) < 2:
        return Growth(nan, nan, nan, points, nan)
    x, y = np.log(np.asarray(pixels, float)), np.log(np.asarray(seconds, float))
    line = stats.linregress(x, y)
    slope, intercept = float(line.slope), float(line.intercept)
    misfit = float(np.exp(np.abs(y - intercept - slope * x).max()))
    if points < FEWEST_POINTS:
        return Growth(slope, nan, nan, points, misfit)
    half = float(stats.t.ppf((1 + LEVEL) / 2, points - 2)) * float(line.stderr)
    return Growth(slope, slope - half, slope + half, points, misfit)
