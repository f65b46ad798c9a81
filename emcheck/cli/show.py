"""What the command line shows: progress, the report of one layer, the catalogue."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.etree import ElementTree

from rich.console import Console
from rich.table import Table

from emcheck._internal.progress import Bar, Output
from emcheck.checker import NamedCheck
from emcheck.cli import catalogue
from emcheck.known import KNOWN
from emcheck.report import Report, numbers_of
from emcheck.result import Result, Verdict

_STYLE = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.XPASS: "bold red",
    Verdict.ILL_CONDITIONED: "yellow",
    Verdict.NOTE: "cyan",
    Verdict.UNSUPPORTED: "dim",
}


class CheckProgress(Bar):
    """Progress over the checks; the last one is named."""

    def __init__(self) -> None:
        super().__init__("checks", None)
        self._seen: set[str] = set()

    def advance(self, check: NamedCheck, result: Result) -> None:
        self._seen.add(check.name)
        self.update(completed=len(self._seen), total=len(KNOWN), description=check.name)


class StepProgress(Bar):
    """Progress over steps whose number is known once the first begins."""

    def __init__(self, what: str) -> None:
        super().__init__(what, None)

    def advance(self, done: int, total: int) -> None:
        self.update(completed=done, total=total)


def render_report(report: Report, console: Console | None = None) -> None:
    """The report of one layer as a table of at most 80 columns, findings below it."""
    console = console or Output()
    table = Table(box=None, pad_edge=False)
    table.add_column("check", overflow="fold")
    for name in ("float32", "float64"):  # a verdict is never cut, however narrow the terminal
        table.add_column(name, no_wrap=True)
    table.add_column("error/bound", justify="right", overflow="fold")
    by_check: dict[str, list[Result]] = {}
    for result in report.results:
        by_check.setdefault(result.check, []).append(result)
    for name, results in by_check.items():
        found = {result.dtype: _colour(result.verdict) for result in results}
        table.add_row(name, found.get("float32", ""), found.get("float64", ""), _ratio(results))
    console.print(table)
    console.print(str(report), markup=False, highlight=False, soft_wrap=True)


def _colour(verdict: Verdict) -> str:
    style = _STYLE.get(verdict, "")
    return f"[{style}]{verdict}[/]" if style else str(verdict)


def _ratio(results: list[Result]) -> str:
    """The largest ratio relative to its threshold, where the check measures one."""
    scaled = [r.ratio / r.threshold for r in results if r.threshold > 0]
    scaled = [value for value in scaled if not math.isnan(value)]
    return f"{max(scaled):.2g}" if scaled else ""


def render_catalogue(console: Console | None = None) -> None:
    """Layers, checks and faults, one line each."""
    console = console or Output()
    layers, checks, faults = catalogue.layers(), catalogue.checks(), catalogue.faults()
    for title, rows in (("layers", layers), ("checks", checks), ("seeded faults", faults)):
        table = Table(title=f"{len(rows)} {title}", box=None, title_justify="left", pad_edge=False)
        table.add_column(no_wrap=True, max_width=34)
        table.add_column(overflow="fold")
        for name, text in rows:
            table.add_row(name, text.replace("``", "").replace("[", r"\["))
        console.print(table)
        console.print()


def junit_of(reports: Sequence[Report]) -> bytes:
    """Reports as JUnit XML: a suite for each layer, a case for each check and dtype."""
    root = ElementTree.Element("testsuites", name="emcheck")
    for report in reports:
        spoiling = set(map(id, report.failures))
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=f"{report.layer} {report.shape}",
            tests=str(len(report.results)),
            failures=str(len(spoiling)),
        )
        for result in report.results:
            names = {"name": f"{result.check}[{result.dtype}]", "classname": report.layer}
            case = ElementTree.SubElement(suite, "testcase", names)
            told = "\n".join((*numbers_of(result), result.detail, result.reproduce)).strip()
            if id(result) in spoiling:
                ElementTree.SubElement(case, "failure", message=str(result.verdict)).text = told
            elif result.verdict is not Verdict.PASS:
                ElementTree.SubElement(case, "skipped", message=f"{result.verdict}: {told}")
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
