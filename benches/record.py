"""The benchmark file: small, without names of machines, replaced in one step."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from emcheck._internal.files import write_file

#: Entries that are kept of pytest-benchmark's own description of a machine.
_MACHINE = ("machine", "system", "python_implementation", "python_version", "emcheck")

#: Entries that are kept of a benchmark besides its statistics.
_BENCHMARK = ("group", "name", "fullname", "param", "params", "extra_info")

#: Statistics that are kept; the others follow from the rounds.
_STATS = ("min", "max", "mean", "stddev", "median", "iqr", "ops", "rounds", "iterations")

#: Times are not reproducible beyond three digits; five keep medians and rounds consistent.
_DIGITS = 5


def slim_machine(machine_info: dict[str, Any]) -> None:
    """Drop in place what identifies the machine or only repeats flags of its CPU."""
    for key in set(machine_info) - set(_MACHINE):
        del machine_info[key]


def slim_benchmark(benchmark: dict[str, Any]) -> dict[str, Any]:
    """Return a benchmark with rounded times and without what can be derived."""
    slim: dict[str, Any] = {key: benchmark.get(key) for key in _BENCHMARK}
    slim["param"] = slim["params"] = None  # the cell is in extra_info, field by field
    stats = benchmark["stats"]
    slim["stats"] = {key: _rounded(stats[key]) for key in _STATS if key in stats}
    slim["stats"]["data"] = [_rounded(value) for value in stats.get("data", [])]
    return slim


def _rounded(value: Any) -> Any:
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.{_DIGITS}g}")
    return value


def dumps(content: dict[str, Any]) -> str:
    """Return JSON with one benchmark a line, so that a new run gives a readable diff."""
    rows = [json.dumps(row, allow_nan=False) for row in content["benchmarks"]]
    head = {key: value for key, value in content.items() if key != "benchmarks"}
    text = json.dumps(head, indent=1, allow_nan=False)[:-2]
    return text + ',\n "benchmarks": [\n' + ",\n".join(rows) + "\n]}\n"


def part_of(path: Path) -> Path:
    """Return where this process writes the run before it is complete."""
    return path.with_name(f".emcheck-{os.getpid()}.part")


def complete(path: Path) -> None:
    """Write the content of the finished part compactly to ``path`` and remove the part."""
    part = part_of(path)
    content = json.loads(part.read_text(encoding="utf-8"))
    write_file(path, dumps(content).encode())
    part.unlink()
