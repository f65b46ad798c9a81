"""A layer whose checks run one by one, in this process or in one of its own; without torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from emcheck.known import Clause
from emcheck.report import Report
from emcheck.result import Result

#: Cases for each check and dtype: one for each parameter style.
EXAMPLES = 4

#: Seconds for one check on one case: a hundred times what the slowest takes on a small layer.
TIME_LIMIT = 10.0

#: Seconds for a whole report: examples that have not begun by then are NOT RUN.
REPORT_LIMIT = 120.0


class NamedCheck(Protocol):
    """A check, or the description of one that runs elsewhere."""

    @property
    def name(self) -> str:
        """The name in a report."""

    @property
    def family(self) -> str:
        """The column group of the summary."""

    @property
    def clause(self) -> Clause:
        """The clause of the contract that it judges."""

    @property
    def summary(self) -> str:
        """One line that says what holds if the check passes."""


#: Called with each check and each of its results.
Progress = Callable[[NamedCheck, Result], None]

C = TypeVar("C", bound=NamedCheck)


class AnyChecker(Protocol[C]):
    """A layer and the checks that apply to it."""

    @property
    def name(self) -> str:
        """The name that results are filed under."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The event shape."""

    @property
    def checks(self) -> tuple[C, ...]:
        """The checks that apply, in the order in which they run."""

    def run(self, check: C) -> list[Result]:
        """Return the results of one check."""

    def report(self, results: Sequence[Result]) -> Report:
        """Return the results as a report, with failures explained."""


def run_checks(checker: AnyChecker[C], progress: Progress | None = None) -> Report:
    """Run every check that applies; call ``progress`` with each result."""
    results = []
    for check in checker.checks:
        for result in checker.run(check):
            results.append(result)
            if progress is not None:
                progress(check, result)
    return checker.report(results)
