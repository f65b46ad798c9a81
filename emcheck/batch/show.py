"""The outcome of a matrix: a table by target, what was lost, what failed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import TimeRemainingColumn
from rich.table import Table

from emcheck._internal.files import write_file
from emcheck._internal.progress import Bar, Output
from emcheck.batch.run import Outcome
from emcheck.result import Verdict

#: Lines of each kind that are shown; the others are counted.
_SHOWN = 10

_COLUMNS = (Verdict.PASS, Verdict.FAIL, Verdict.ILL_CONDITIONED, Verdict.UNSUPPORTED)
_TITLES = {Verdict.ILL_CONDITIONED: "ILL-C.", Verdict.UNSUPPORTED: "UNSUPP."}


class CaseProgress(Bar):
    """Progress over cases, with the time that is left."""

    def __init__(self) -> None:
        super().__init__("cases", None, TimeRemainingColumn())

    def advance(self, done: int, total: int) -> None:
        self.update(completed=done, total=total)


def render_outcome(outcome: Outcome, console: Console | None = None) -> None:
    """Print a table of at most 80 columns, with findings below it."""
    console = console or Output()
    expected = Counter(case.target for case in outcome.cases)
    lost = Counter(case.target for case in outcome.lost)
    table = Table(box=None, pad_edge=False)
    table.add_column("target", max_width=26, overflow="fold")
    table.add_column("verdict", no_wrap=True)  # never cut, however narrow the terminal
    for name in ("cases", "done", "lost", *map(_title, _COLUMNS), "other"):
        table.add_column(name, justify="right", overflow="fold")
    for target, count in expected.items():
        found = outcome.tally.verdicts[target]
        well = outcome.tally.ok(target) and not lost[target]
        shown = [str(found[verdict]) for verdict in _COLUMNS]
        others = sum(found.values()) - sum(found[verdict] for verdict in _COLUMNS)
        numbers = (count, outcome.tally.count(target), lost[target])
        verdict = "[green]ok[/]" if well else "[bold red]NOT OK[/]"
        table.add_row(target, verdict, *map(str, numbers), *shown, str(others))
    console.print(table)
    for line in told(outcome):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _title(verdict: Verdict) -> str:
    return _TITLES.get(verdict, str(verdict))


def told(outcome: Outcome) -> list[str]:
    """Return the outcome in words."""
    tally = outcome.tally
    done, missing = len(tally.done), len(outcome.cases) - len(tally.done)
    lines = [
        f"{done} of {len(outcome.cases)} cases done ({outcome.before} of them before), "
        f"{missing} lost: {'ok' if outcome.ok else 'NOT OK'}"
    ]
    lines += _some(list(outcome.broken))
    lines += _some([f"lost: {case}: {why}" for case, why in outcome.lost.items()])
    lines += _some([f"could not run: {case}: {why}" for case, why in tally.refused.items()])
    lines += _some([_failure(result) for result in tally.failures])
    names = dict.fromkeys(case.target for case in outcome.cases)
    unproven = [(pair, check) for name in names for pair, check in tally.unproven(name)]
    failed = {(f["target"], f["check"]) for f in tally.failures}
    silent = [(pair, check) for pair, check in unproven if (pair[0], check) not in failed]
    lines += _some([f"never passed: {check} of {pair[0]} on {pair[1]}" for pair, check in silent])
    return [*lines, f"results: {outcome.out}"]


def _some(lines: list[str]) -> list[str]:
    more = [f"  and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return lines[:_SHOWN] + more


def _failure(result: dict[str, Any]) -> str:
    what = f"{result['verdict']} {result['check']} of {result['target']}"
    return f"{what}\n  {result['reproduce'] or result['case']}"


def write_json(outcome: Outcome, path: Path) -> None:
    """Write the numbers of the table, the lost cases and every result that spoils, as JSON."""
    tally = outcome.tally
    expected = Counter(case.target for case in outcome.cases)
    content = {
        "ok": outcome.ok,
        "expected": len(outcome.cases),
        "done": len(tally.done),
        "before": outcome.before,
        "lost": {str(case): why for case, why in outcome.lost.items()},
        "refused": {str(case): why for case, why in tally.refused.items()},
        "targets": {
            target: {
                "ok": tally.ok(target),
                "expected": count,
                "done": tally.count(target),
                "verdicts": {str(v): n for v, n in tally.verdicts[target].items()},
            }
            for target, count in expected.items()
        },
        "failures": tally.failures,
    }
    write_file(path, (json.dumps(content, indent=1) + "\n").encode())
