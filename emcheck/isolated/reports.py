"""A report, a checker or a place of a target, each from a process of its own."""

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
    """What :func:`emcheck.check_layer` says of the layer, which may kill its process.

    ``expect`` is called with the number of checks that apply, before the first.

    Raises:
        ValueError: as ``check_layer`` does, and where the process dies before the first check.
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
    """The checker of a job, whose process is ended afterwards, or kept as ``spare``.

    On Windows, where a child inherits no descriptors, it is in this process.

    Raises:
        ValueError: a target or a shape that is none, a process that dies at once.
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
    """Where targets are written, see :func:`emcheck.kit.loading.source_path`.

    Raises:
        ValueError: one that cannot be imported, or that kills the process that does.
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
