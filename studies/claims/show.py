"""What ``emcheck claims`` prints: doubt, statement, evidence and verdict in 80 columns."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from emcheck._internal.progress import Output
from studies.claims.core import Claim, Evidence, show


def render(claim: Claim, evidence: Evidence, console: Console | None = None) -> None:
    """One claim."""
    console = console or Output()
    console.rule(f"[bold]{claim.letter}. {claim.name}", align="left")
    console.print(f'Doubt: "{escape(claim.doubt)}"', highlight=False)
    console.print(f"Claim: {escape(claim.statement)}", highlight=False)
    if evidence.facts:
        console.print(_facts(evidence))
    colour = "green" if evidence.holds else "yellow" if evidence.missing else "bold red"
    word = "HOLDS" if evidence.holds else "NOT MEASURED" if evidence.missing else "DOES NOT HOLD"
    console.print(f"[{colour}]{word}[/] {escape(evidence.conclusion)}\n", highlight=False)


def _facts(evidence: Evidence) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("evidence", ratio=1)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("expected", no_wrap=True)
    for fact in evidence.facts:
        style = "" if fact.holds else "bold red"
        table.add_row(
            escape(fact.what), show(fact.value), f"{fact.relation} {show(fact.bound)}", style=style
        )
    return table
