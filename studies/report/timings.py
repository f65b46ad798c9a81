"""Benchmarks as tidy frames: one row per machine, layer, operation and size."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from typing import Any

import pandas as pd

from emcheck.result import excess
from studies.pages.fields import OPERATIONS
from studies.pages.load import BenchmarkFile
from studies.pages.schema import Record, fail
from studies.pages.statistics import fit_growth, ratio_interval, spread
from studies.pages.tidy import records, size_names

#: What names a size of a layer; rows that agree here stand side by side, a column a machine.
CELL_KEYS = ["layer", "sweep", "channels", "height", "width", "batch", "dtype"]
#: The sweep whose channel count stays the same while the image grows.
FIXED = "fixed"
#: Below this side a call's fixed cost flattens the growth; fitted with and without.
SMALL_SIDE = 16
#: 32x32, the size of the images in the paper's experiments.
REFERENCE_PIXELS = 1024


def label(file: BenchmarkFile, row: Record) -> str:
    """The machine a time was taken on, in words."""
    threads = f"{row['threads']} thread{'s' if row['threads'] != 1 else ''}"
    if row["device"] == "cpu":
        return f"{file.machine['cpu']}, {threads}"
    if row["device"] == "cuda":
        return f"{file.machine['gpu']} (cuda), {threads} on the host"
    return f"{row['device']} of {file.machine['cpu']}, {threads}"


def _key(row: Record) -> tuple[Any, ...]:
    return tuple(row[key] for key in [*CELL_KEYS, "operation"])


def _columns(files: Sequence[BenchmarkFile]) -> dict[tuple[int, str], str]:
    """(file, label) -> column name: files of one machine share a column while they do not
    measure the same cell twice and come from the same commit and torch; else each has its own.
    """
    cells: dict[str, dict[int, set[tuple[Any, ...]]]] = {}
    for number, file in enumerate(files):
        for row in file.rows:
            known = cells.setdefault(label(file, row), {}).setdefault(number, set())
            if _key(row) in known:
                where = f"{file.name}: {row['layer']} {row['operation']}"
                fail(where, "each size of a layer once", f"{row['height']}x{row['width']} twice")
            known.add(_key(row))
    columns: dict[tuple[int, str], str] = {}
    for name, by_file in cells.items():
        distinct = len(set().union(*by_file.values())) == sum(map(len, by_file.values()))
        builds = {(files[n].machine["commit"], files[n].machine["torch"]) for n in by_file}
        together = distinct and len(builds) == 1
        for run, number in enumerate(by_file, start=1):
            columns[number, name] = name if together else f"{name}, run {run}"
    return columns


def letters(names: Sequence[str]) -> dict[str, str]:
    """A short name for each column: A, B, C and so on, in alphabetical order."""
    short = [*string.ascii_uppercase, *(f"M{n}" for n in range(27, len(names) + 1))]
    return dict(zip(sorted(set(names)), short, strict=False))


def timing_frame(files: Sequence[BenchmarkFile]) -> pd.DataFrame:
    """All benchmarks, sorted; ``seconds`` holds the rounds, all times are seconds per call."""
    columns = _columns(files)
    short = letters(list(columns.values()))
    rows = []
    for number, file in enumerate(files):
        for row in file.rows:
            name = columns[number, label(file, row)]
            rounds = spread(row["seconds"], row["median"])
            within = row["error_ratio"] <= row["error_threshold"]  # False for NaN
            rows.append(
                row
                | vars(rounds)
                | {"machine": short[name], "machine_name": name, "file": file.name}
                | {"pixels": row["height"] * row["width"], "within_bound": within}
            )
    order = ["machine", "layer", "sweep", "dtype", "batch", "pixels", "height", "channels"]
    return pd.DataFrame(rows).sort_values([*order, "operation"], ignore_index=True)


#: The columns of times.csv, in reading order (the rounds themselves stay in the input).
TIDY_COLUMNS = [
    *["machine", "machine_name", "layer", "operation", "sweep", "channels", "height", "width"],
    *["pixels", "batch", "dtype", "device", "threads", "median", "low", "high", "interval"],
    *["iqr", "rounds", "slow_rounds", "max_over_median", "calls_per_round"],
    *["error_ratio", "error_threshold", "error_rule", "within_bound", "file"],
]


def _cell(rows: dict[str, Record]) -> Record:
    """Forward, inverse and log-det of one cell on one machine, with their ratio and error."""
    values: Record = {}
    for operation in OPERATIONS:
        row = rows.get(operation, {})
        for part in ("median", "low", "high", "interval"):
            values[f"{operation}_{part}"] = row.get(part, "" if part == "interval" else None)
    nan = float("nan")
    values |= {"ratio": nan, "ratio_low": nan, "ratio_high": nan}
    if "forward" in rows and "inverse" in rows:
        forward, inverse = rows["forward"], rows["inverse"]
        values["ratio"] = inverse["median"] / forward["median"]
        values["ratio_low"], values["ratio_high"] = ratio_interval(
            inverse["seconds"], forward["seconds"]
        )
    worst = max(rows.values(), key=lambda r: excess(r["error_ratio"], r["error_threshold"]))
    for part in ("error_ratio", "error_threshold", "error_rule"):
        values[part] = worst[part]
    values["error_operation"] = worst["operation"]
    values["rounds"] = sum(row["rounds"] for row in rows.values())
    values["slow_rounds"] = sum(row["slow_rounds"] for row in rows.values())
    slowest = [row["max_over_median"] for row in rows.values()]
    values["max_over_median"] = max((s for s in slowest if s == s), default=nan)
    return values


def cell_frame(timings: pd.DataFrame) -> pd.DataFrame:
    """One row per machine and cell: three medians, inverse over forward, worst error ratio."""
    keys = ["machine", *CELL_KEYS]
    groups: dict[tuple[Any, ...], dict[str, Record]] = {}
    for row in records(timings):
        key = tuple(row[k] for k in keys)
        groups.setdefault(key, {})[row["operation"]] = row
    rows = [dict(zip(keys, key, strict=True)) | _cell(groups[key]) for key in sorted(groups)]
    frame = pd.DataFrame(rows)
    frame.insert(1 + len(CELL_KEYS), "pixels", frame["height"] * frame["width"])
    return frame


def side_by_side(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells with one group of columns per machine: ``forward_median [A]`` and so on."""
    blocks = []
    for machine, group in cells.drop(columns="pixels").groupby("machine", sort=True):
        block = group.drop(columns="machine").set_index(CELL_KEYS)
        blocks.append(block.add_suffix(f" [{machine}]"))
    return pd.concat(blocks, axis=1).sort_index().reset_index()


def growth_frame(timings: pd.DataFrame) -> pd.DataFrame:
    """Exponent of time against pixels over the fixed-channel sweep, all sizes and from 16."""
    keys = ["machine", "layer", "operation", "channels", "batch", "dtype"]
    rows: list[Record] = []
    for key, group in timings[timings["sweep"] == FIXED].groupby(keys, sort=True):
        large = group[group[["height", "width"]].min(axis=1) >= SMALL_SIDE]
        row: Record = dict(zip(keys, key, strict=True))
        row["sizes"] = " ".join(size_names(group))
        for name, points in (("all", group), ("from16", large)):
            fit = fit_growth(points["pixels"].tolist(), points["median"].tolist())
            row |= {f"{part}_{name}": value for part, value in vars(fit).items()}
        rows.append(row)
    return pd.DataFrame(rows)


def _most_covered(timings: pd.DataFrame, keys: list[str]) -> dict[str, Any]:
    """The values of ``keys`` that hold the most layers, operations and machines; among equals
    those nearest to the paper's 32x32 images, then the largest batch.
    """
    best: tuple[float, ...] = ()
    chosen: dict[str, Any] = {}
    for key, group in timings.groupby(keys, sort=True):
        covered = len(group[["machine", "layer", "operation"]].drop_duplicates())
        octaves = abs(math.log2(group["pixels"].max() / REFERENCE_PIXELS))
        score = (covered, -octaves, float(group["batch"].max()))
        if not best or score >= best:
            best, chosen = score, dict(zip(keys, key, strict=True))
    return chosen


def headline_view(timings: pd.DataFrame) -> dict[str, Any]:
    """The one size at which all layers are compared."""
    return _most_covered(timings, ["sweep", "height", "width", "batch", "dtype"])


def sweep_view(timings: pd.DataFrame) -> dict[str, Any]:
    """The sweep, batch and dtype that a figure shows: the fixed-channel sweep where there is."""
    fixed = timings[timings["sweep"] == FIXED]
    return _most_covered(fixed if len(fixed) else timings, ["sweep", "batch", "dtype"])
