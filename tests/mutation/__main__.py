"""``python -m tests.mutation``: does some test notice every mutant?"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tests.mutation.equivalent import EQUIVALENT
from tests.mutation.forks import NoAnswer, Task, in_forks
from tests.mutation.mutants import Mutant, modules, mutants
from tests.mutation.oracle import judge
from tests.mutation.probes import Probe, baseline, preload

#: Seconds a mutant may take for each second that its probes take, and in any case.
PATIENCE, LEAST = 5.0, 60.0

#: Columns of the table in a file.
_WIDTH = 180


@dataclass(frozen=True)
class Outcome:
    """What noticed a mutant (nothing: it survives), after how long, out of how many probes."""

    mutant: Mutant
    killer: str
    seconds: float
    probes: int

    @property
    def problem(self) -> str:
        """What makes the run fail, if this does."""
        listed = self.mutant.key in EQUIVALENT
        if self.killer:
            return "listed as equivalent, and noticed" if listed else ""
        return "" if listed else ("survives" if self.probes else "survives: no probe runs it")


def main(
    only: str = typer.Option("", help="part of a module's name or of a mutant's key"),
    list_: bool = typer.Option(False, "--list", help="print the keys of the mutants, run nothing"),
    jobs: int = typer.Option(1, min=1, help="mutants at a time"),
) -> None:
    """Change one node of a module at a time and see whether a fault or a unit test notices."""
    console = Console(soft_wrap=True)
    if not console.is_terminal:
        console.width = _WIDTH
    every = [mutant for module in modules() for mutant in mutants(module)]
    chosen = [mutant for mutant in every if only in mutant.key]
    stale = sorted(set(EQUIVALENT) - {mutant.key for mutant in every})
    if list_:
        for mutant in chosen:
            console.print(mutant.key, markup=False, highlight=False)
        return
    if not chosen:
        raise typer.BadParameter(f"expected part of a mutant's key, got {only!r}")
    preload()
    probes = _baseline(console)
    outcomes = _run(chosen, probes, jobs, console)
    console.print(_table(outcomes))
    for key in stale:
        console.print(f"listed as equivalent, and no such mutant: {key}", markup=False)
    failed = sum(bool(outcome.problem) for outcome in outcomes)
    killed = sum(bool(outcome.killer) for outcome in outcomes)
    console.print(f"{killed} of {len(outcomes)} mutants noticed, {failed} problems")
    raise typer.Exit(1 if failed or stale else 0)


def _baseline(console: Console) -> list[Probe]:
    started = time.perf_counter()
    ((_, answer),) = in_forks([Task("baseline", baseline, 3600.0)], 1)
    if isinstance(answer, NoAnswer):
        console.print(f"the modules as they are: {answer.reason}", markup=False)
        raise typer.Exit(2)
    probes, complaint = answer
    if complaint:
        console.print(f"the modules as they are do not pass: {complaint}", markup=False)
        raise typer.Exit(2)
    faults = sum(probe.is_fault for probe in probes)
    seconds = time.perf_counter() - started
    console.print(f"{faults} faults, {len(probes) - faults} unit tests pass in {seconds:.0f} s")
    return list(probes)


def _run(
    chosen: Sequence[Mutant], probes: Sequence[Probe], jobs: int, console: Console
) -> list[Outcome]:
    """Every mutant in a fork of its own; the outcomes in the order of the source."""
    outcomes: dict[str, Outcome] = {}
    reaching = {m.key: [probe for probe in probes if probe.reaches(m)] for m in chosen}

    def tasks() -> list[Task[str]]:
        made = []
        for mutant in chosen:
            concerned = reaching[mutant.key]
            limit = LEAST + PATIENCE * sum(probe.seconds for probe in concerned)
            work = functools.partial(_timed, mutant, concerned)
            made.append(Task(mutant.key, work, limit))
        return made

    by_key = {mutant.key: mutant for mutant in chosen}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    # Nothing but this thread when the process forks: the display is refreshed by hand.
    with Progress(*columns, TimeRemainingColumn(), console=console, auto_refresh=False) as progress:
        bar = progress.add_task("mutants", total=len(chosen))
        for task, answer in in_forks(tasks(), jobs):
            lost = isinstance(answer, NoAnswer)
            killer, seconds = (answer.reason, math.nan) if lost else answer
            mutant = by_key[task.name]
            outcome = Outcome(mutant, killer, seconds, len(reaching[task.name]))
            outcomes[task.name] = outcome
            if outcome.problem:
                _print_problem(outcome, console)
            progress.update(bar, advance=1, refresh=True)
    return [outcomes[mutant.key] for mutant in chosen]


def _timed(mutant: Mutant, probes: Sequence[Probe]) -> tuple[str, float]:
    started = time.perf_counter()
    return judge(mutant, probes), time.perf_counter() - started


def _table(outcomes: Sequence[Outcome]) -> Table:
    table = Table("module", "function", "before", "after", "noticed by", "s", box=None)
    for outcome in outcomes:
        mutant = outcome.mutant
        said = outcome.killer or ("equivalent" if mutant.key in EQUIVALENT else "SURVIVES")
        cells = (mutant.module.removeprefix("emcheck."), mutant.function)
        shown = (mutant.before, mutant.after, said, f"{outcome.seconds:.1f}")
        table.add_row(*(escape(cell) for cell in (*cells, *shown)))
    return table


def _print_problem(outcome: Outcome, console: Console) -> None:
    """Where the mutant is, its two lines, and its key for the list of equivalents."""
    mutant = outcome.mutant
    where = f"{mutant.module} line {mutant.line}, {mutant.function}"
    lines = (f"\n{where}: {outcome.problem}", f"- {mutant.before}", f"+ {mutant.after}", mutant.key)
    for line in lines:
        console.print(line, markup=False, highlight=False)


if __name__ == "__main__":
    typer.run(main)
