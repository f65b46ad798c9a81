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
    of this project or with a definition only if the float64 error is within its bound.
    """
    unknown = not subject.own and not subject.is_defined
    rules = ("T8", "T9", "AGREE") if unknown else ("T8", "T9")
    other = {torch.float32: torch.float64, torch.float64: torch.float32}[case.dtype]
    if measure.ok or measure.rule not in rules or not np.isfinite(measure.ratio):
        return measure
    if not unknown and case.dtype != torch.float32:
        return measure
    found = {case.dtype: measure, other: _in_dtype(function, subject, case, other)}
    narrow, wide = found[torch.float32], found[torch.float64]
    if narrow is None or wide is None or not (wide.ok or unknown):
        return measure
    if narrow.ill_conditioned or wide.ill_conditioned or not np.isfinite(narrow.ratio):
        return measure  # nothing was measured there that could be compared
    if _times(narrow, wide) < bounds.CANCELLATION_FACTOR:
        return measure
    told = "cancellation inside the layer: float32 and float64 are "
    told += f"{narrow.ratio:.2g} and {wide.ratio:.2g} bounds off"
    return replace(measure, ill_conditioned=True, detail=told)


def _times(narrow: Measure, wide: Measure) -> float:
    """Return how many times the error in float32 is that in float64.

    Errors are ratios times bounds, since a tolerance does not shrink with the dtype; where a bound
    is unknown, bounds count as proportional to the rounding units.
    """
    of_bounds = narrow.bound / wide.bound if wide.bound > 0 else math.nan
    if not math.isfinite(of_bounds) or of_bounds == 0:
        of_bounds = bounds.Arithmetic.of(torch.float32).u / bounds.Arithmetic.of(torch.float64).u
    return narrow.ratio * of_bounds / wide.ratio if wide.ratio > 0 else math.inf


def _in_dtype(
    function: Function, subject: Subject, case: Case, dtype: torch.dtype
) -> Measure | None:
    """Return the measure of the same case in another dtype; None where it cannot be taken."""
    try:
        return measured(function, subject, replace(case, dtype=dtype))
    except foreign():  # another result reports that the layer fails in the other dtype
        return None
