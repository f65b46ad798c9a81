"""The self-tests as a table for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from emcheck.doctor.canary import Canary
from emcheck.doctor.self_tests import CAPABILITIES, REGISTRY, trusted


def render(canaries: Sequence[Canary]) -> RenderableType:
    """Return a table of at most 80 columns, then one line for each failure with its repair."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    table.add_column("self-test", overflow="fold")
    table.add_column("verdict", no_wrap=True)  # never cut, however narrow the terminal
    for name in ("cases", "error/bound", "limit", "seconds"):
        table.add_column(name, justify="right", overflow="fold")
    for canary in canaries:
        verdict = Text("ok", "green") if canary.ok else Text("FAILS", "bold red")
        ratio, limit = _number(canary.ratio), f"{canary.threshold:g}"
        seconds = f"{canary.seconds:.1f}"
        table.add_row(canary.name, verdict, str(canary.cases), ratio, limit, seconds)
    failures = [line for canary in canaries if not canary.ok for line in _failure(canary)]
    return Group(table, *failures, _summary(canaries))


def _number(ratio: float) -> str:
    return f"{ratio:.2g}" if math.isfinite(ratio) else "infinite"


def _failure(canary: Canary) -> list[Text]:
    """Return what went wrong and what to do about it."""
    lines = [Text.assemble((canary.name, "bold red"), ": ", canary.detail)]
    if canary.repair:
        label = "  repair, tried: " if canary.repaired else "  "
        lines.append(Text.assemble((label, "bold"), canary.repair))
    return lines


def _summary(canaries: Sequence[Canary]) -> Text:
    """Return how many are ok, what no oracle may rely on, and what was not tested."""
    good = sum(canary.ok for canary in canaries)
    threads = max((canary.threads for canary in canaries), default=0)
    faulty = {REGISTRY[canary.name].capability for canary in canaries if not canary.ok}
    untested = frozenset(CAPABILITIES) - trusted(canaries) - faulty
    parts = [f"{good} of {len(canaries)} self-tests ok", f"torch threads: {threads or 'unknown'}"]
    for label, names in (("not to be trusted", faulty), ("not tested", untested)):
        if names:
            parts.append(f"{label}: {', '.join(name for name in CAPABILITIES if name in names)}")
    return Text("; ".join(parts))
