"""The density experiment in a minute: that all of it runs and learns, not what it finds."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from studies.density.cell import Cell
from studies.density.plans import smoke
from studies.density.sweep import Record, Told, sweep


def run_smoke(told: Told = lambda name, done, total: None) -> list[str]:
    """Train the smoke plan in a temporary folder; one line for everything that is wrong."""
    cells = smoke()
    with tempfile.TemporaryDirectory() as folder:
        problems = sweep(cells, Path(folder), told=told)
        paths = {cell: Path(folder) / "cells" / f"{cell.name}.json" for cell in cells}
        records = {
            cell: json.loads(path.read_text(encoding="utf-8"))
            for cell, path in paths.items()
            if path.exists()
        }
    return problems + judge(records)


def judge(records: dict[Cell, Record]) -> list[str]:
    """What is wrong with trained cells: diverged, nothing learnt, or not nested at the start."""
    problems = []
    starts: dict[tuple[str, int, int], dict[str, float]] = {}
    for cell, record in records.items():
        if "diverged" in record:
            problems.append(f"{cell.name}: {record['diverged']}")
            continue
        first, last = (record["rows"][n]["valid"] for n in (0, -1))
        if not last < first:
            problems.append(
                f"{cell.name}: expected validation below {first:.4f} bits/dim, got {last:.4f}"
            )
        if not cell.control:
            key = cell.data, cell.depth, cell.seed
            starts.setdefault(key, {})[cell.mixing] = first
    for key, first in starts.items():
        if len(set(first.values())) > 1:
            problems.append(f"{key}: expected one start for nested flows, got {first}")
    return problems
