"""What the command line shows: progress, the report of one layer, the catalogue."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from emcheck._internal.progress import Bar, Output
from emcheck.checker import NamedCheck
from emcheck.cli import catalogue
from emcheck.report import Report
from emcheck.report.rows import rows_of
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
    """Progress over the checks that apply; the last one is named."""

    def __init__(self) -> None:
        super().__init__("checks", None)
        self._seen: set[str] = set()
        self._expected: int | None = None

    def expect(self, count: int) -> None:
        """Set the number of checks that will run."""
        self._expected = count

    def advance(self, check: NamedCheck, result: Result) -> None:
        self._seen.add(check.name)
        self.update(completed=len(self._seen), total=self._expected, description=check.name)


class StepProgress(Bar):
    """Progress over steps whose number is known once the first begins."""

    def __init__(self, what: str) -> None:
        super().__init__(what, None)

    def advance(self, done: int, total: int) -> None:
        self.update(completed=done, total=total)


def render_report(report: Report, console: Console | None = None) -> None:
    """Print the report of one layer as a table of at most 80 columns, with findings below it."""
    console = console or Output()
    table = Table(box=None, pad_edge=False)
    table.add_column("check", overflow="fold")
    for name in ("float32", "float64"):  # a verdict is never cut, however narrow the terminal
        table.add_column(name, no_wrap=True)
    table.add_column("error/bound", justify="right", overflow="fold")
    for name, verdicts, share in rows_of(report.results):
        found = {dtype: _colour(verdict) for dtype, verdict in verdicts.items()}
        table.add_row(name, found.get("float32", ""), found.get("float64", ""), share)
    console.print(table)
    console.print(str(report), markup=False, highlight=False, soft_wrap=True)


def _colour(verdict: Verdict) -> str:
    style = _STYLE.get(verdict, "")
    return f"[{style}]{verdict}[/]" if style else str(verdict)


def render_catalogue(console: Console | None = None) -> None:
    """Print layers, checks and faults, one line each."""
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
