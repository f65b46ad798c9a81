"""Why an inverse misses its tolerance, or is approximate without saying so."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch

from emcheck._internal.copying import copy_layer
from emcheck.bounds import ALIKE, APPROXIMATE, COUPLED
from emcheck.checks.calling import call, call_inverse
from emcheck.checks.core import identical
from emcheck.checks.tolerances import TOLERANCES, inverted, measured
from emcheck.diagnosis.consequences import INVERSE, UNDONE
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.rank import SEEN, SYMPTOM, Fit, hypothesis

_CHECK = "inverse_meets_its_tolerance"


@hypothesis("tolerance_ignored", rank=SEEN, when=(_CHECK,), explains=frozenset({_CHECK}))
def tolerance_ignored(evidence: Evidence) -> Iterator[Fit]:
    """The inverse ignores its tolerance: the loosest and the tightest give the same bits."""
    if not callable(evidence.subject.tolerance):
        return
    trial = evidence.trial(replace(evidence.base, style="trained"))
    loosest, *_, tightest = TOLERANCES[trial.case.dtype]
    if identical(inverted(trial, loosest), inverted(trial, tightest)):
        yield Fit(
            "tolerance_ignored",
            "The tolerance changes nothing: the inverse stops for another reason, such as a "
            "number of steps that is reached first.",
            f"inverse returns the same bits at tolerance {loosest:g} and {tightest:g}",
        )


@hypothesis("tolerance_missed", rank=SEEN, when=(_CHECK,), explains=frozenset({_CHECK}))
def tolerance_missed(evidence: Evidence) -> Iterator[Fit]:
    """The inverse meets only the square root of its tolerance."""
    if not callable(evidence.subject.tolerance):
        return
    trial = evidence.trial(replace(evidence.base, style="trained"))
    tolerances = TOLERANCES[trial.case.dtype]
    first, last = inverted(trial, tolerances[0]), inverted(trial, tolerances[-1])
    found = list(measured(trial))
    if identical(first, last) or all(measure.ok for measure in found):
        return
    rows = len(trial.x)
    off = [max(m.got for m in found[n * rows : (n + 1) * rows]) for n in range(len(tolerances))]
    if all(error <= tolerance**0.5 for error, tolerance in zip(off, tolerances, strict=True)):
        yield Fit(
            "tolerance_missed",
            "The inverse converges with its tolerance, but only to about the root of it: the "
            "square of a step or of a residual is compared with it.",
            f"errors {', '.join(f'{e:.2g}' for e in off)} at tolerances "
            f"{', '.join(f'{t:g}' for t in tolerances)}",
        )


@hypothesis(
    "stopped_before_tolerance",
    rank=SEEN,
    when=(_CHECK,),
    explains=frozenset({_CHECK, "inverse_logdet_matches_jacobian"}),
)
def stopped_before_tolerance(evidence: Evidence) -> Iterator[Fit]:
    """The inverse is further off than its declared tolerance, in float64 too."""
    declared = evidence.subject.tolerance
    if declared is None or callable(declared):
        return
    trial = evidence.trial(replace(evidence.case_of(_CHECK), dtype=torch.float64))
    off = [measure for measure in measured(trial) if not measure.ok]
    if not off or not all(math.isfinite(measure.got) for measure in off):
        return
    xh, logdet = call_inverse(trial.new_layer(), trial.forward[0])
    there = call(trial.new_layer(), xh)[1]
    accounts = {_CHECK}
    if bool(((there + logdet).abs() <= COUPLED * (1 + logdet.abs())).all()):
        accounts.add("inverse_logdet_matches_jacobian")  # it is that of the point where it stopped
    worst = max(measure.got for measure in off)
    yield Fit(
        "stopped_before_tolerance",
        f"The inverse stops too early: it is off by {worst:.2g}, and its tolerance is "
        f"{declared:g}.",
        f"in float64, {len(off)} of {len(trial.x)} samples; rounding is no part of it",
        frozenset(accounts),
    )


#: The relative error up to which an inverse is called approximate, and not wrong.
_MOST = 2.0**-6


@hypothesis("inverse_approximate", rank=SYMPTOM - 5, when=UNDONE, explains=INVERSE)
def approximate(evidence: Evidence) -> Iterator[Fit]:
    """The inverse is approximate: its small error is about the same in float32 and float64."""
    sizes = {}
    for dtype in (torch.float32, torch.float64):
        trial = evidence.trial(replace(evidence.base, dtype=dtype))
        z, _ = call(copy_layer(trial.layer), trial.x)
        xh, _ = call_inverse(copy_layer(trial.layer), z)
        if xh.shape != trial.x.shape:
            return
        off = (xh - trial.x).double().abs()
        sizes[dtype] = float(off.norm() / trial.x.double().norm())
        if dtype == torch.float64 and float((off > 2.0**-10 * off.max()).double().mean()) < 0.5:
            return  # wrong for part of the data: not a matter of precision
    wide, narrow = sizes[torch.float64], sizes[torch.float32]
    if wide < _MOST and is_approximate(wide, narrow, evidence.maps[0].condition):
        yield Fit(
            "inverse_approximate",
            "The inverse is approximate, or a little wrong: its error does not shrink with the "
            "precision (an iteration with a loose tolerance, an interpolation, a stabiliser, a "
            "weight that one direction rounds). Only if it iterates, and that is meant, say "
            "`capabilities={'exact_inverse': False}`.",
            f"relative round trip error {wide:.3g} in float64 and {narrow:.3g} in float32",
        )


def is_approximate(wide: float, narrow: float, condition: float) -> bool:
    """Whether float64 and float32 have similar relative errors, small but above rounding."""
    double, single = (torch.finfo(dtype).eps for dtype in (torch.float64, torch.float32))
    if not ALIKE * double * condition < wide < APPROXIMATE:
        return False
    rounding = single * condition
    return wide / ALIKE <= narrow + rounding and narrow <= ALIKE * wide + rounding
