"""Reports, checkers and source files of targets, each from a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from emcheck.checker import REPORT_LIMIT, AnyChecker, Progress, run_checks
from emcheck.isolated.checker import IsolatedChecker, said
from emcheck.isolated.process import Child, Died
from emcheck.isolated.spare import Spare
from emcheck.isolated.wire import Job
from emcheck.report import Report


def isolated_report(
    job: Job,
    progress: Progress | None = None,
    expect: Callable[[int], None] | None = None,
) -> Report:
    """Return the report of :func:`emcheck.check_layer` on a layer that may kill its process.

    ``expect`` is called with the number of checks that apply, before the first.

    Raises:
        ValueError: as ``check_layer`` does, and if the process dies before the first check.
    """
    spare = Spare()
    try:
        with opened(job, spare) as checker:
            if expect is not None:
                expect(len(checker.checks))
            return run_checks(checker, progress)
    finally:
        spare.close()


@contextmanager
def opened(job: Job, spare: Spare | None = None) -> Iterator[AnyChecker[Any]]:
    """Open the checker of a job; its process is ended afterwards, or kept as ``spare``.

    On Windows, where a child inherits no descriptors, the checker runs in this process.

    Raises:
        ValueError: the target or the shape is not valid, or the process dies at once.
    """
    if sys.platform == "win32":
        from emcheck.isolated.child import checker_of

        yield checker_of(job)
        return
    checker = IsolatedChecker(job, spare)
    try:
        yield checker
    except BaseException:
        checker.close()
        raise
    checker.leave()


def locate(targets: Sequence[str]) -> dict[str, str]:
    """Return where targets are defined, see :func:`emcheck.kit.loading.source_path`.

    Raises:
        ValueError: a target cannot be imported, or kills the process that imports it.
    """
    if sys.platform == "win32":
        from emcheck.kit.loading import load_target, source_path

        for target in targets:
            load_target(target)
        return {target: source_path(target) for target in targets}
    found = {}
    for target in targets:
        child = Child()
        try:
            found[target] = child.ask("locate", target, REPORT_LIMIT)
        except Died as death:
            raise ValueError(said(death, death.doing or "at its start")) from None
        finally:
            child.close()
    return found
