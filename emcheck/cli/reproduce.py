"""``emcheck reproduce``: one check of one layer on one case, as a report prints it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from emcheck._internal.words import parse_shape, require_module
from emcheck.checker import TIME_LIMIT
from emcheck.cli import FAILED, names
from emcheck.cli.options import Context, Lacks, TimeLimit
from emcheck.isolated.wire import Job

if TYPE_CHECKING:
    from emcheck.report import Report

#: The line of Python in a report.
_IN_PYTHON = re.compile(r'^emcheck\.reproduce\(layer, "(\w+)", "([^"]*)"\)$')


def reproduce(
    target: Annotated[
        str,
        typer.Argument(
            help="module:factory, module:layer or a registered layer", autocompletion=names.targets
        ),
    ],
    check: Annotated[str, typer.Argument(help="name of a check", autocompletion=names.checks)],
    case: Annotated[str, typer.Argument(help="the case, as a report prints it")],
    context: Context = None,
    lacks: Lacks = None,
    time_limit: TimeLimit = TIME_LIMIT,
) -> None:
    """Run one check of one layer on one case, in a process of its own."""
    require_module(target)  # before torch is loaded
    from emcheck.checks import Case
    from emcheck.isolated import IsolatedChecker
    from emcheck.report import Report

    wanted = Case.parse(case)
    job = Job(
        target,
        wanted.event,
        registered=True,
        seed=wanted.seed,
        dtypes=(wanted.dtype_name,),
        time_limit=time_limit,
        context=parse_shape(context) if context else (),
        lacks=tuple(lacks or ()),
    )
    checker = IsolatedChecker(job)
    try:
        result = checker.replay(check, str(wanted))
    finally:
        checker.close()
    why = "for what is most likely wrong: emcheck check"
    report = Report(checker.name, wanted.event, wanted.seed, (result,), unexplained=why)
    print(in_shell(report, job))
    raise typer.Exit(FAILED if report.failures else 0)


def in_shell(report: Report, job: Job) -> Report:
    """Return the report with shell commands instead of Python lines that repeat its failures."""
    command = _command(job)
    return replace(
        report,
        results=tuple(
            replace(result, reproduce=_IN_PYTHON.sub(command, result.reproduce))
            for result in report.results
        ),
    )


def _command(job: Job) -> Callable[[re.Match[str]], str]:
    more = ["--context", ",".join(map(str, job.context))] if job.context else []
    more += [word for name in job.lacks for word in ("--lacks", name)]

    def command(line: re.Match[str]) -> str:
        return shlex.join(["emcheck", "reproduce", job.target, *line.groups(), *more])

    return command
