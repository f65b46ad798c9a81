"""Runs the checks of one layer, one after the other, within their limits of time."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import torch

from emcheck.checks import Case, Check, Subject
from emcheck.checks.capabilities import missing
from emcheck.checks.core import without_running
from emcheck.diagnosis import Finding
from emcheck.kit.cases import Plan, run_mildly, too_large
from emcheck.kit.shrink import shrink
from emcheck.ok import spoils
from emcheck.result import Ending, Result, Verdict, merge

#: The check that reports that a direction does not answer.
_SAYS_SILENT = {"forward": "shapes_and_dtypes", "inverse": "inverse_undoes_forward"}


@dataclass
class Limits:
    """The limits of time of a report, in seconds: of a check on a case, of all, and what is left.

    The time that a caller spends between two checks does not count.
    """

    check: float
    report: float
    left: float


class Runner:
    """Runs checks on the cases of a plan.

    Args:
        plan: which cases there are.
        widest: the widest dtype of the constants that an adapted layer keeps, if any.
        limits: of time.
        findings: a list to which every failure is appended, to be explained.
    """

    def __init__(
        self, plan: Plan, widest: torch.dtype | None, limits: Limits, findings: list[Finding]
    ) -> None:
        self._plan, self._found, self._widest = plan, plan.found, widest
        self._limits, self._findings = limits, findings
        self._until = math.inf
        self._hung: set[tuple[object, ...]] = set()

    def run(self, check: Check) -> list[Result]:
        """Return one result for each dtype: the worst of its examples, a FAIL shrunk."""
        start = time.monotonic()
        self._until = start + self._limits.left
        try:
            merged = [self._in_dtype(check, dtype) for dtype in self._plan.dtypes]
            return [result for result in merged if result is not None]
        finally:
            self._limits.left -= time.monotonic() - start

    def _in_dtype(self, check: Check, dtype: torch.dtype) -> Result | None:
        subject = self.subject(check, dtype)
        cases = self._plan.cases(check, subject, dtype)
        unheard = self.unheard(check, dtype, cases)
        if unheard is not None or not cases:
            return unheard
        return self._merged(check, subject, [self._one(check, subject, case) for case in cases])

    def subject(self, check: Check, dtype: torch.dtype) -> Subject:
        """Return the layer as this check sees it: its mode, and which direction does not answer."""
        loud = check.name in self._found.loud_in
        subject = self._found.loud if loud else self._found.subject
        told = self._found.silent.get(("inverse", dtype))
        if told is None:
            return subject
        return replace(subject, broken=dict.fromkeys(missing({"inverse": False}), told))

    def _one(self, check: Check, subject: Subject, case: Case) -> tuple[Case, Result]:
        reason = too_large(check, subject, case) or self._too_wide(check, subject, case)
        if reason and check.hindered(subject) is None:
            unsupported = Verdict.UNSUPPORTED
            return case, without_running(check, subject, case, unsupported, reason)
        if time.monotonic() > self._until:
            late = without_running(check, subject, case, Verdict.NOT_RUN, self._over)
            return case, replace(late, unfinished=int(check.hindered(subject) is None))
        place = (case.event, case.dtype, case.style, case.scale, case.seed)
        if place in self._hung:
            told = f"inverse did not end within {self._limits.check:g} s before, in this case"
            broken = dict.fromkeys(missing({"inverse": False}), told)
            subject = replace(subject, broken={**subject.broken, **broken})
            if check.hindered(subject) == (Verdict.NOT_RUN, told):
                late = without_running(check, subject, case, Verdict.NOT_RUN, told)
                return case, replace(late, unfinished=1, ending=Ending.INVERSE_LATE)
        case, result = run_mildly(check, subject, case, self._limits.check)
        if result.unfinished and result.ending is Ending.INVERSE_LATE:
            self._hung.add(place)
        return case, result

    @property
    def _over(self) -> str:
        return f"the report's limit of {self._limits.report:g} s was over"

    def _too_wide(self, check: Check, subject: Subject, case: Case) -> str:
        """Why a check that computes in float64 is not run on constants rounded to float32."""
        if self._widest is None or check.adapt(case, subject).dtype in self._plan.dtypes:
            return ""
        return f"the check computes in float64, and the layer keeps constants in {self._widest}"

    def unheard(self, check: Check, dtype: torch.dtype, cases: list[Case]) -> Result | None:
        """Return FAIL (for one check) or NOT RUN if a direction does not answer, else None."""
        told, direction = self._found.silent.get(("forward", dtype), ""), "forward"
        if not told and check.name == _SAYS_SILENT["inverse"]:
            told, direction = self._found.silent.get(("inverse", dtype), ""), "inverse"
        if not told or not cases:
            return None
        case = cases[0]
        if check.name != _SAYS_SILENT[direction]:
            return without_running(check, self._found.subject, case, Verdict.NOT_RUN, told)
        failed = without_running(check, self._found.subject, case, Verdict.FAIL, told)
        failed = replace(failed, ratio=math.inf, examples=1, reproduce=_line(check, case))
        self._findings.append(Finding(check.name, case, failed))
        return failed

    def _merged(self, check: Check, subject: Subject, found: list[tuple[Case, Result]]) -> Result:
        merged = merge([result for _, result in found])
        if spoils(check.name, merged.verdict, merged.unfinished):
            case = next(case for case, result in found if result.case == merged.case)
            if merged.verdict is Verdict.NOT_RUN:
                # The end of the report's time says nothing about the layer to explain.
                if any(result.unfinished and result.detail != self._over for _, result in found):
                    self._findings.append(Finding(check.name, check.adapt(case, subject), merged))
                return replace(merged, reproduce=_line(check, check.adapt(case, subject)))
        if merged.verdict is not Verdict.FAIL:
            return merged
        case = next(case for case, result in found if result.case == merged.case)
        case = check.adapt(case, subject)
        small = self._found.sizes.accepted
        case, least = shrink(check, subject, case, merged, small, self._limits.check)
        self._findings.append(Finding(check.name, case, least))
        return replace(
            least,
            examples=merged.examples,
            ill_conditioned=merged.ill_conditioned,
            reproduce=_line(check, case),
        )


def _line(check: Check, case: Case) -> str:
    """Return the one line of Python that repeats a failure."""
    return f'emcheck.reproduce(layer, "{check.name}", "{case}")'
