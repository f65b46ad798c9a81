"""The registry of checks, and how one check on one case becomes a result."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from emcheck import bounds
from emcheck.bounds import Measure
from emcheck.checks.calling import DIRECTIONS
from emcheck.checks.cancellation import Function, excuse_cancellation, measured
from emcheck.checks.capabilities import CAPABILITIES
from emcheck.checks.case import Case, Subject
from emcheck.checks.needs import offers
from emcheck.checks.unsupported import Unsupported as Unsupported
from emcheck.guard import TimeLimit, foreign, one_line, time_limit
from emcheck.guard.surroundings import settings_kept
from emcheck.known import Clause, make_known
from emcheck.oracle.precision import Array, as_extended
from emcheck.result import Ending, Result, Verdict
from emcheck.specs.core import Trait


@dataclass(frozen=True)
class Check:
    """One clause of the contract as a function ``(trial) -> Measure``.

    Args:
        family: the column group of the report.
        clause: the clause of the contract that it judges.
        needs: traits of the layer, names of what its spec must offer, or capabilities.
        house: whether a failure is a FAIL for this project's layers only, a NOTE for others.
        adapt: turns a drawn case into one that this check can use.
        optional: whether it runs only on request, because it takes seconds.
        couples: whether it judges coupled rows; all other checks assume that there are none.
    """

    name: str
    family: str
    clause: Clause
    function: Function
    needs: tuple[Trait | str, ...]
    house: bool
    adapt: Callable[[Case, Subject], Case]
    optional: bool = False
    couples: bool = False

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (self.function.__doc__ or "").strip().splitlines()[0]

    def applies(self, subject: Subject) -> bool:
        """Whether the check makes sense for the subject; a run reports what it lacks."""
        return all(offers(subject, need) for need in self.needs if need not in CAPABILITIES)

    def hindered(self, subject: Subject) -> tuple[Verdict, str] | None:
        """Return a verdict and its reason if the subject lacks what is needed, else None."""
        if subject.coupled and not self.couples:
            return Verdict.UNSUPPORTED, subject.coupled
        for need in self.needs:
            if need in subject.broken:
                return Verdict.NOT_RUN, subject.broken[str(need)]
            if need in subject.lacks:
                return Verdict.UNSUPPORTED, subject.lacks[str(need)]
        return None


#: name -> check, in the order of the families' modules.
CHECKS: dict[str, Check] = {}


def check(
    family: str,
    clause: Clause,
    *needs: Trait | str,
    house: bool = False,
    adapt: Callable[[Case, Subject], Case] = lambda case, subject: case,
    optional: bool = False,
    couples: bool = False,
) -> Callable[[Function], Function]:
    """Register a function as a check under the function's own name."""

    def register(function: Function) -> Function:
        name = function.__name__
        if name in CHECKS:
            raise ValueError(f"expected a new name for a check, got {name!r} twice")
        CHECKS[name] = Check(name, family, clause, function, needs, house, adapt, optional, couples)
        make_known(name, family, clause, CHECKS[name].summary)
        return function

    return register


def yes(fine: bool, detail: str = "", note: bool = False) -> Measure:
    """Return a yes-or-no answer as a measure; the detail says what was wrong."""
    ratio = 0.0 if fine else math.inf
    return Measure(ratio, "EXACT", detail="" if fine else detail, note=note)


#: Why nothing is judged where forward is not finite, except at initial parameters.
OUTSIDE = "outside the domain: forward is not finite there"


def ill_conditioned(rule: str, condition: float = math.inf, detail: str = "") -> Measure:
    """Return a measure that judges nothing."""
    return Measure(math.inf, rule, condition, ill_conditioned=True, detail=detail)


def agree(got: Array, expected: Array, bound: Array, detail: str = "") -> Measure:
    """Compare two computed values, each within ``bound`` of the truth.

    Entries without a finite bound are judged last, so that they excuse no other entry.
    """
    got, expected, limit = np.broadcast_arrays(got, expected, 2 * np.asarray(bound))
    bounded = np.isfinite(limit)
    parts = (got[bounded], expected[bounded], limit[bounded])
    judged = bounds.compare(*parts, "AGREE", detail=detail)
    if bounded.all() or not judged.ok:
        return judged
    return bounds.compare(got, expected, limit, "AGREE", ill_conditioned=True, detail=detail)


def agree_tensors(got: Tensor, expected: Tensor, bound: Array, detail: str = "") -> Measure:
    """Compare two tensors with :func:`agree`."""
    return agree(as_extended(got), as_extended(expected), bound, detail)


def identical(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors have the same shape and equal entries; NaN equals NaN."""
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())


def worst(*measures: Measure) -> Measure:
    """Return the measure that fails worst or comes closest; judged failures first, then notes."""

    def closeness(measure: Measure) -> tuple[bool, bool, float]:
        failed = not measure.ok and not measure.ill_conditioned
        relative = measure.ratio / measure.threshold if measure.threshold else measure.ratio * 2
        return failed and not measure.note, failed, relative

    return max(measures, key=closeness)


def run_check(check: Check, subject: Subject, case: Case, seconds: float | None = None) -> Result:
    """Run one check on one case and return a result, whatever the layer does.

    A check that has not ended after ``seconds`` is NOT RUN; None sets no limit.
    """
    case = check.adapt(case, subject)
    hindered = check.hindered(subject)
    if hindered is not None:
        return without_running(check, subject, case, *hindered)
    result = replace(without_running(check, subject, case, Verdict.FAIL), examples=1)
    try:
        with (
            settings_kept(),
            np.errstate(all="ignore"),
            time_limit(seconds) if seconds else nullcontext(),
        ):
            measure = measured(check.function, subject, case)
            measure = excuse_cancellation(check.function, subject, case, measure)
    except Unsupported as reason:
        return replace(result, verdict=Verdict.UNSUPPORTED, detail=str(reason))
    except TimeLimit as limit:
        if seconds is None:  # the caller's limit, not that of this check
            raise
        running = _running(limit)
        told = f"{running or 'the check'} did not end within {seconds:g} s"
        late = Ending.INVERSE_LATE if running == "inverse" else Ending.LATE
        result = replace(result, verdict=Verdict.NOT_RUN, examples=0, unfinished=1)
        return replace(result, detail=told, ending=late)
    except foreign() as error:  # a layer may raise anything, and that is an answer
        if isinstance(error, NotImplementedError) and not subject.own:
            unsupported = replace(result, verdict=Verdict.UNSUPPORTED, unfinished=1)
            return replace(unsupported, detail=f"not implemented: {one_line(error)}")
        detail = f"raised {type(error).__name__}: {one_line(error)}"
        failed = replace(result, verdict=_failure(check, subject), ratio=math.inf)
        return replace(failed, detail=detail, ending=Ending.RAISED)
    verdict = Verdict.PASS
    if measure.ill_conditioned and not measure.ok:
        verdict = Verdict.ILL_CONDITIONED
    elif not measure.ok:
        verdict = Verdict.NOTE if measure.note and not subject.own else _failure(check, subject)
    return with_measure(result, measure, verdict)


def with_measure(result: Result, measure: Measure, verdict: Verdict) -> Result:
    """Return a result with the numbers of a measure."""
    return replace(
        result,
        verdict=verdict,
        ratio=measure.ratio,
        threshold=measure.threshold,
        condition=measure.condition,
        detail=measure.detail,
        rule=measure.rule,
        got=measure.got,
        expected=measure.expected,
        bound=measure.bound,
        ill_conditioned=int(verdict is Verdict.ILL_CONDITIONED),
    )


def _running(limit: TimeLimit) -> str:
    """Return the direction of the layer that the time limit interrupted, empty if it was none."""
    frame, found = limit.__traceback__, ""
    while frame is not None:
        found = DIRECTIONS.get(frame.tb_frame.f_code.co_name, found)
        frame = frame.tb_next
    return found


def without_running(
    check: Check, subject: Subject, case: Case, verdict: Verdict, detail: str = ""
) -> Result:
    """Return a result without numbers, from no example."""
    return Result(
        check=check.name,
        layer=subject.name,
        case=str(case),
        dtype=case.dtype_name,
        device=case.device,
        verdict=verdict,
        examples=0,
        detail=detail,
        seed=case.seed,
    )


def _failure(check: Check, subject: Subject) -> Verdict:
    return Verdict.NOTE if check.house and not subject.own else Verdict.FAIL
