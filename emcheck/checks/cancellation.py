"""Errors that come from rounding inside a layer and not from a wrong formula."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from emcheck import bounds
from emcheck.bounds import Measure
from emcheck.checks.case import Case, Subject
from emcheck.checks.trial import Trial
from emcheck.checks.unsupported import Unsupported as Unsupported
from emcheck.guard import foreign

#: The function of a check.
Function = Callable[[Trial], Measure]


def measured(function: Function, subject: Subject, case: Case) -> Measure:
    """Return what a check measures in a case; the comparison of dtypes does not run it again."""
    memo = subject.memo
    if memo is None:
        return function(Trial(subject, case))
    key = (str(case), "measure", function.__name__, *subject.lacks, "broken", *subject.broken)
    if key not in memo:
        memo[key] = function(Trial(subject, case))
    found: Measure = memo[key]
    return found


def excuse_cancellation(
    function: Function, subject: Subject, case: Case, measure: Measure
) -> Measure:
    """Return ILL-CONDITIONED where the error in float64 is 2^20 times less than in float32.

    A fault of the formula errs alike in both precisions; cancellation inside a layer shrinks with
    the rounding unit. Only rules whose bound knows nothing of the inside are excused, and a layer
    of this project or with a definition only if the float64 error is within its bound. So is any
    layer that loses half its digits at initial parameters and ordinary data.
    """
    unknown = not subject.own and not subject.is_defined
    rules = ("T8", "T9", "AGREE") if unknown else ("T8", "T9")
    if measure.ok or measure.rule not in rules or not np.isfinite(measure.ratio):
        return measure
    if not unknown and case.dtype != torch.float32:
        return measure
    other = {torch.float32: torch.float64, torch.float64: torch.float32}[case.dtype]
    found = {case.dtype: measure, other: in_dtype(function, subject, case, other)}
    narrow, wide = found[torch.float32], found[torch.float64]
    if narrow is None or wide is None:
        return measure
    if not wide.ok and (not unknown or (_is_plain(case) and _loses_half(narrow))):
        return measure
    if not shrinks(narrow, wide):
        return measure
    told = "cancellation inside the layer: float32 and float64 are "
    told += f"{narrow.ratio:.2g} and {wide.ratio:.2g} bounds off"
    return replace(measure, ill_conditioned=True, detail=told)


def shrinks(narrow: Measure, wide: Measure) -> bool:
    """Whether the error shrinks with the rounding unit from float32 to float64.

    Errors are ratios times bounds, since a tolerance does not shrink with the dtype; where a bound
    is unknown, bounds count as proportional to the rounding units.
    """
    if narrow.ill_conditioned or wide.ill_conditioned or not np.isfinite(narrow.ratio):
        return False  # nothing was measured there that could be compared
    of_bounds = narrow.bound / wide.bound if wide.bound > 0 else math.nan
    if not math.isfinite(of_bounds) or of_bounds == 0:
        of_bounds = bounds.Arithmetic.of(torch.float32).u / bounds.Arithmetic.of(torch.float64).u
    times = narrow.ratio * of_bounds / wide.ratio if wide.ratio > 0 else math.inf
    return times >= bounds.CANCELLATION_FACTOR


def _is_plain(case: Case) -> bool:
    return case.style == "initial" and not case.wide


def _loses_half(narrow: Measure) -> bool:
    """Whether a float32 number of ordinary size is off by more than half of its digits."""
    size = 1.0 if math.isnan(narrow.expected) else max(1.0, abs(narrow.expected))
    return narrow.ratio * narrow.bound > bounds.HALF_OF_DIGITS * size


def in_dtype(
    function: Function, subject: Subject, case: Case, dtype: torch.dtype
) -> Measure | None:
    """Return the measure of the same case in another dtype; None where it cannot be taken."""
    try:
        return measured(function, subject, replace(case, dtype=dtype))
    except foreign():  # another result reports that the layer fails in the other dtype
        return None
