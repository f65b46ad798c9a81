"""Why an inverse misses its tolerance."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch

from emcheck.bounds import COUPLED
from emcheck.checks.calling import call, call_inverse
from emcheck.checks.core import identical
from emcheck.checks.tolerances import TOLERANCES, inverted, measured
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.rank import SEEN, Fit, hypothesis

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
