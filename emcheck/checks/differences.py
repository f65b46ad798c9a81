"""Central differences that estimate their own error."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from emcheck.bounds import DIFFERENCE_ROUNDING, DIFFERENCE_STEPS, DIFFERENCES_AGREE
from emcheck.guard import foreign


class Quality(Enum):
    """Whether a difference can judge a gradient."""

    GOOD = "neighbouring steps agree"
    UNRELIABLE = "neighbouring steps disagree: a kink or a very steep place"
    NOISY = "the values scatter, or bend nearby: digits are lost inside, or kinks are close"
    OUTSIDE = "no step stays in the domain"


@dataclass(frozen=True)
class Difference:
    """A derivative by differences: its value, its uncertainty, and whether it can judge.

    ``steps`` are those at which differences were taken, with each difference.
    """

    value: float
    spread: float
    quality: Quality
    steps: tuple[tuple[float, float], ...] = ()


def central_difference(f: Callable[[float], float], size: float, u: float) -> Difference:
    """``f'(0)`` from central differences ``(f(h) - f(-h)) / 2h`` at neighbouring steps ``h``.

    Three neighbouring steps are taken at a time; the middle one is uncertain by their
    disagreement and by rounding. The first three that agree to a few digits end the search.

    Args:
        f: a function of one number of order 1; NaN or an exception means outside the domain.
        size: the sum of the absolute values of the terms of ``f``, which its rounding follows.
        u: the rounding unit of ``f``.

    Cost: 7 to 17 evaluations of ``f``.
    """
    digits = -math.log2(u)
    known: dict[float, float] = {}
    centre = _value(f, 0.0)
    best = Difference(math.nan, math.inf, Quality.OUTSIDE)
    for share in DIFFERENCE_STEPS:
        step = 2.0 ** -round(share * digits)
        up, down = _value(f, step), _value(f, -step)
        if not (math.isfinite(up) and math.isfinite(down)):
            continue
        if _bends(up, down, centre, size * u):
            known[step] = math.nan
            continue
        known[step] = (up - down) / (2 * step)
        for found in _triples(known, size * u):
            if found.spread < best.spread or best.quality is Quality.OUTSIDE:
                best = found
        scale = max(abs(best.value), DIFFERENCES_AGREE * size)
        if best.quality is Quality.GOOD and best.spread <= DIFFERENCES_AGREE**2 * scale:
            break
    if best.quality is Quality.OUTSIDE and known:
        return Difference(math.nan, math.inf, Quality.UNRELIABLE)
    taken = tuple((step, value) for step, value in known.items() if math.isfinite(value))
    return replace(best, steps=taken)


def _value(f: Callable[[float], float], step: float) -> float:
    try:
        return f(step)
    except foreign():  # a step that leads out of the domain
        return math.nan


def _bends(up: float, down: float, centre: float, rounding: float) -> bool:
    """Whether the two one-sided differences disagree by more than 0.3 of the larger one.

    A smooth function bends by ``h^2 f''``, which is small against ``h f'`` at small steps; at a
    kink the sides differ however small the step. Near a stationary point the step is not used.
    """
    right, left = up - centre, centre - down
    gap = abs(right - left)
    return gap > 0.3 * max(abs(right), abs(left)) and gap > 64 * rounding


def _triples(known: dict[float, float], rounding: float) -> Iterator[Difference]:
    steps = sorted(known, reverse=True)
    for first, middle, last in zip(steps, steps[1:], steps[2:], strict=False):
        three = [known[first], known[middle], known[last]]
        if not all(map(math.isfinite, three)):
            continue
        spread = max(three) - min(three) + DIFFERENCE_ROUNDING * rounding / middle
        yield Difference(known[middle], spread, Quality.GOOD)


def noise(f: Callable[[float], float], step: float) -> float:
    """Return how much values of ``f`` scatter around a smooth function within ``step`` of 0.

    Fifth differences of nine neighbouring values: those of a smooth function vanish, those of
    independent errors of deviation ``s`` have the mean square ``(10! / 5!^2) s^2`` (Moré and Wild,
    Estimating computational noise, 2011). A function that loses digits inside, such as
    ``log(1 - sigmoid(x))``, scatters far more than its size suggests. Infinite outside the domain.

    Cost: 9 evaluations of ``f``.
    """
    values = [_value(f, step * place / 4) for place in range(-4, 5)]
    if not all(map(math.isfinite, values)):
        return math.inf
    fifth = np.diff(values, 5)
    return float(math.sqrt(np.square(fifth).mean() / math.comb(10, 5)))
