"""A checker in a child process; if that dies, another goes on with the next check."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from emcheck.isolated.process import GRACE, Child, Died
from emcheck.isolated.spare import Spare
from emcheck.isolated.wire import Job, Message, report_of, result_of
from emcheck.known import KnownCheck, make_known
from emcheck.report import Report
from emcheck.result import Result, Verdict

#: Seconds beyond the report's limit that a child may be silent if it uses ``torch.compile``.
_COMPILING = 300.0

#: The check that fails if the first calls end the process.
_FIRST = "shapes_and_dtypes"

#: After this many calls that never return, no other check is tried.
_MOST_LATE = 2


class IsolatedChecker:
    """Like :class:`emcheck.kit.Checker`, but in a process that may die.

    Raises:
        ValueError: the layer cannot be imported or built.
    """

    def __init__(self, job: Job, spare: Spare | None = None) -> None:
        self._job, self._spare = job, spare or Spare()
        self._late = 0
        self._child: Child | None = None
        self._called, self._probed = False, Message()
        self._findings: list[Message] = []
        self._deaths, self._hopeless = 0, ""
        built = self._built()
        self._name, self._shape = built["name"], tuple(built["shape"])
        self._checks = tuple(make_known(*words) for words in built["checks"])

    @property
    def name(self) -> str:
        return self._name

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def checks(self) -> tuple[KnownCheck, ...]:
        return self._checks

    def run(self, check: KnownCheck) -> list[Result]:
        """Return one result for each dtype; a single FAIL or NOT_RUN if the process dies.

        Raises:
            ValueError: as a checker does.
        """
        try:
            child = self._ready()
        except ValueError as error:
            if not self._deaths:
                raise
            first = check.name == _FIRST and not self._called
            verdict = Verdict.FAIL if first else Verdict.NOT_RUN
            return [self._result(check, verdict, str(error))]
        try:
            answer = child.ask("run", check.name, self._patience)
        except Died as death:
            self.close()
            self._deaths += 1
            return [self._unanswered(check, death) if death.late else self._fatal(check, death)]
        self._findings += answer["findings"]
        return [result_of(result) for result in answer["results"]]

    def replay(self, name: str, case: str) -> Result:
        """Run one check on one case, as :meth:`emcheck.kit.Checker.replay`.

        Raises:
            ValueError: the check does not apply to the layer.
        """
        check = next((known for known in self._checks if known.name == name), None)
        if check is None:
            wanted = f"a check that applies to {self._name} (emcheck list)"
            raise ValueError(f"expected {wanted}, got {name!r}")
        assert self._child is not None, "built on construction"
        try:
            asked = {"check": name, "case": case}
            return result_of(self._child.ask("replay", asked, self._patience)["result"])
        except Died as death:
            return self._fatal(check, death)

    def report(self, results: Sequence[Result]) -> Report:
        """Return a report of the results; if the explanations kill the process, a line says so."""
        kept = tuple(results)
        explained = {finding["check"] for finding in self._findings}
        if self._hopeless and not self._probed:
            why = "no explanation: the layer does not survive its first call"
            return Report(self._name, self._shape, self._job.seed, kept, unexplained=why)
        if self._child is None and not explained & {result.check for result in kept}:
            return report_of(self._probed, kept)
        try:
            sent = [asdict(result) for result in kept]
            answer = self._ready().ask("report", sent, self._patience)
        except Died as death:
            self.close()
            return self._unexplained(kept, f"{death} in the diagnosis")
        except ValueError as error:
            return self._unexplained(kept, str(error))
        return report_of(answer, kept)

    @property
    def _patience(self) -> float:
        """Seconds that a child may be silent before it names a time limit."""
        return self._job.report_limit + (_COMPILING if self._job.compiled else GRACE)

    def leave(self) -> None:
        """Ask nothing more and let the process wait for another job."""
        if self._child is not None and not self._child.closed:
            self._spare.keep(self._job.target, self._child)
            self._child = None

    def close(self) -> None:
        """End the process; the next request starts another."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def _ready(self) -> Child:
        """Return a child that has built and called the layer: the present one or a new one.

        Raises:
            ValueError: the layer refuses the shape, or the process dies before any check.
        """
        if self._hopeless:
            raise ValueError(self._hopeless)
        try:
            if self._child is None or self._child.closed:
                self._built()
            if not self._called:
                self._probed = self._started("probe", None)
                self._called = True
        except ValueError as error:
            self._hopeless = str(error)
            self.close()
            raise
        assert self._child is not None, "a child that cannot be started raises"
        return self._child

    def _built(self) -> Message:
        self._child, self._called = self._spare.take(self._job.target), False
        given = {"job": asdict(self._job), "findings": self._findings}
        try:
            return self._started("build", given)
        except BaseException:
            self.close()
            raise

    def _started(self, name: str, given: Any) -> Message:
        """Return the answer to a request that comes before any check."""
        assert self._child is not None
        try:
            answer: Message = self._child.ask(name, given, self._patience)
        except Died as death:
            self._deaths += name == "probe"
            first = "when the layer was first called" if name == "probe" else "at its start"
            raise ValueError(said(death, death.doing or first)) from death
        return answer

    def _unanswered(self, check: KnownCheck, death: Died) -> Result:
        """Record a call that never returns and that no signal ends; after two, try no more."""
        self._late += 1
        told = said(death, f"in check {check.name}")
        if self._late >= _MOST_LATE:
            self._hopeless = f"{told}, as in a check before: no more of them are tried"
        result = replace(self._result(check, Verdict.NOT_RUN, told), unfinished=1)
        return self._placed(check, death, result)

    def _fatal(self, check: KnownCheck, death: Died) -> Result:
        result = self._result(check, Verdict.FAIL, said(death, f"in check {check.name}"))
        return self._placed(check, death, result)

    def _placed(self, check: KnownCheck, death: Died, result: Result) -> Result:
        """Return the result with the case on which the process died."""
        if not death.doing:
            return result
        from emcheck.checks import Case  # torch, which nothing else here needs

        case = Case.parse(death.doing)
        line = f'emcheck.reproduce(layer, "{check.name}", "{case}")'
        return replace(
            result, case=str(case), dtype=case.dtype_name, seed=case.seed, reproduce=line
        )

    def _result(self, check: KnownCheck, verdict: Verdict, detail: str) -> Result:
        """Return a result without numbers, on the first case."""
        from emcheck.checks import Case

        case = Case(self.shape, seed=self._job.seed)
        failed = verdict is Verdict.FAIL
        return Result(
            check=check.name,
            layer=self.name,
            case=f"seed={case.seed}" if self._job.density else str(case),
            dtype=case.dtype_name,
            device=case.device,
            verdict=verdict,
            ratio=math.inf if failed else math.nan,
            examples=int(failed),
            detail=detail,
            seed=case.seed,
        )

    def _unexplained(self, results: tuple[Result, ...], why: str) -> Report:
        report = report_of(self._probed, results)
        return replace(report, scope=(*report.scope, f"no explanations: {why}"))


def said(death: Died, when: str) -> str:
    return f"{death} {when}" + (f" ({death.where})" if death.where else "")
