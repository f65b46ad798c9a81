"""The finished cells of a sweep as tidy frames."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from emcheck._internal.seal import without_seal
from emcheck.oracle.precision import Array
from studies.density.folders import REPRODUCED
from studies.pages.errors import ReportError
from studies.pages.load import Contests, read_contests

Record = dict[str, Any]

#: Columns that say which training a row belongs to.
KEYS = ["data", "depth", "budget", "variant", "seed"]

#: Improvement of the last quarter of the steps, in bits/dim, up to which a curve counts as flat.
FLAT = 0.01


@dataclass(frozen=True)
class Density:
    """What a sweep found: one row for each cell, each log row, each mixing layer and log row."""

    cells: pd.DataFrame
    curves: pd.DataFrame
    conditions: pd.DataFrame
    baselines: pd.DataFrame
    step_ratios: pd.DataFrame
    pictures: dict[str, Record]
    machines: list[Record]
    reproduced: Record = field(default_factory=dict)
    flows: list[Contests] = field(default_factory=list)

    @property
    def machine(self) -> Record:
        """The machine of the first training."""
        return next(iter(self.machines), {})

    @property
    def trained(self) -> pd.DataFrame:
        """The cells that did not diverge."""
        return self.cells[self.cells["diverged"] == ""]


def read_density(folder: Path) -> Density:
    """Read ``cells/*.json``, ``baselines/*.json`` and what else a sweep kept beside them.

    Raises:
        ReportError: no cell, or a file that is none.
    """
    paths = sorted((folder / "cells").glob("*.json"))
    records = [_read(path) for path in paths]
    for path, record in zip(paths, records, strict=True):
        if "cell" not in record or not ("diverged" in record or "test" in record):
            raise ReportError(f"{path}: expected a cell of a sweep, got other JSON")
    if all("diverged" in record for record in records):
        raise ReportError(f"{folder}: expected finished cells in cells/, got none")
    base = [
        {"data": path.stem, **_read(path)} for path in sorted((folder / "baselines").glob("*.json"))
    ]
    ratios, reproduced = (
        _read(folder / name) if (folder / name).exists() else {}
        for name in ("step_ratios.json", REPRODUCED)
    )
    finished = [record for record in records if "diverged" not in record]
    return Density(
        cells=pd.DataFrame([_row(record) for record in records]).sort_values(
            KEYS, ignore_index=True
        ),
        curves=pd.DataFrame([row for record in records for row in _curve(record)]),
        conditions=pd.DataFrame([row for record in records for row in _conditions(record)]),
        baselines=pd.DataFrame(base),
        step_ratios=pd.DataFrame([{"setting": name} | row for name, row in ratios.items()]),
        pictures={_name(record): record for record in finished if "samples" in record},
        machines=[record["machine"] for record in finished],
        reproduced=reproduced,
        flows=[_read_flows(path) for path in sorted(folder.glob("flows-*.jsonl"))],
    )


def _read_flows(path: Path) -> Contests:
    flows = read_contests(path)
    if "1x1" not in {row["competitor"] for row in flows.rows}:
        raise ReportError(f"{path}: expected the flow with 1x1 among the competitors, got none")
    return flows


def _read(path: Path) -> Record:
    try:
        content = without_seal(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ReportError(f"{path}: expected JSON of a sweep, got {error}") from None
    if not isinstance(content, dict):
        raise ReportError(f"{path}: expected JSON of a sweep, got {type(content).__name__}")
    return content


def decode(record: Record) -> Array:
    """Whole numbers that a cell holds as text: images ``(N, C, H, W)`` of uint8."""
    flat = np.frombuffer(base64.b64decode(record["base64"]), np.uint8)
    return flat.reshape(record["shape"])


def variant(cell: Record) -> str:
    """The mixing, and what it is matched by."""
    return f"{cell['mixing']}, matched {cell['control']}" if cell["control"] else cell["mixing"]


def _name(record: Record) -> str:
    cell = record["cell"]
    return f"{cell['data']} depth {cell['depth']} {variant(cell)}"


def _keys(record: Record) -> Record:
    cell = record["cell"]
    keys = {name: cell[name] for name in ("data", "depth", "seed")}
    return keys | {"budget": cell.get("budget", 0), "variant": variant(cell)}


def _row(record: Record) -> Record:
    """One cell as a flat row; a diverged one has its reason and no numbers."""
    row = _keys(record) | {"diverged": record.get("diverged", "")}
    if row["diverged"]:
        return row
    plain = ("parameters", "width", "steps", "train_seconds", "test", "test_error")
    row |= {name: record[name] for name in (*plain, "test_weighted", "sample_seconds")}
    row |= {f"fidelity_{name}": value for name, value in record["fidelity"].items()}
    last = [one["conditions"] for one in record["rows"] if "conditions" in one][-1]
    valid = [one["valid"] for one in record["rows"]]
    quarter = valid[-1 - max(1, (len(valid) - 1) // 4)]
    return row | {
        **{name: record["cell"][name] for name in ("rate", "warmup", "batch", "levels")},
        "best_step": record["best_step"],
        "train": record["rows"][-1]["train"],
        "best_valid": min(valid),
        "last_valid": valid[-1],
        "first": valid[0],
        "last_quarter": quarter - valid[-1],
        "condition": max(last),
    }


def _curve(record: Record) -> list[Record]:
    keys = _keys(record)
    return [
        keys | {name: row[name] for name in ("step", "seconds", "train", "valid")}
        for row in record["rows"]
    ]


def _conditions(record: Record) -> list[Record]:
    keys = _keys(record)
    return [
        keys | {"step": row["step"], "layer": number, "condition": value}
        for row in record["rows"]
        for number, value in enumerate(row.get("conditions", ()))
    ]
