"""Whether kept trainings are those of the present code: each is begun again and compared."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from emcheck._internal.cluster import connected, ended
from emcheck._internal.files import write_file
from emcheck._internal.machine import describe_machine
from emcheck._internal.seal import with_seal
from emcheck.guard import one_line
from studies.density.cell import Cell
from studies.density.data import load
from studies.density.folders import REPRODUCED
from studies.density.training import Row, Training

#: Rows of the log that are compared: before the first step, and the next.
ROWS = 2

#: Bits per dimension by which a training may differ: half of the last digit that reports print.
#: Another kind of processor rounds otherwise, which comes to 1e-9 to 5e-5 in most trainings.
ALIKE = 5e-5

#: Where the first steps magnify every rounding (to 0.4 bits per dimension within 84 steps on
#: photographs), so many times of what a twin does whose weights differ by one rounding.
MAGNIFIED = 16.0

#: Twins of which the one that goes furthest counts.
_TWINS = 2

#: Called with how many trainings are done, and of how many.
Progress = Callable[[int, int], None]


def begin_again(cell: Cell, kept: Sequence[Row], root: Path | None = None) -> dict[str, Any]:
    """Train a cell to the second row of its kept log and compare both rows.

    On one thread and one kind of processor a training depends on its seed alone: where its first
    twentieth gives the same bits, the present code trains as the code did that was kept.

    Returns:
        ``step``, up to which it was trained, ``same``, whether all bits are, and ``difference``,
        the largest of the training and validation loss in bits per dimension. If that is above
        :data:`ALIKE`, ``rounding`` is how far twins come that begin with other roundings.
    """
    data = load(cell.data, cell.size, root)
    rows = _begun(Training(cell, data), kept)
    off = _apart(rows, kept)
    difference = math.inf if any(map(math.isnan, off)) else max(off, default=0.0)
    found = {"step": rows[-1]["step"], "same": not off, "difference": difference}
    if ALIKE < difference < math.inf:
        twins = [_begun(_rounded(Training(cell, data), n), kept) for n in range(_TWINS)]
        moved = [max(_apart(rows, twin), default=0.0) for twin in twins]
        found["rounding"] = max((one for one in moved if math.isfinite(one)), default=0.0)
    return found


def _begun(training: Training, kept: Sequence[Row]) -> list[Row]:
    """The logs of a training at the steps of the first kept ones."""
    rows = []
    for row in kept[:ROWS]:
        while training.step_number < row["step"]:
            training.step()
        rows.append(training.log())
    return rows


def _apart(rows: Sequence[Row], others: Sequence[Row]) -> list[float]:
    """By how much losses differ, of those that do; NaN equals NaN."""
    pairs = [
        (float(one[key]), float(other[key]))
        for one, other in zip(rows, others, strict=False)
        for key in ("train", "valid")
    ]
    return [abs(one - other) for one, other in pairs if one.hex() != other.hex()]


@torch.no_grad()
def _rounded(training: Training, seed: int) -> Training:
    """Move every weight up or down by one unit in the last place, or leave it, at random."""
    generator = torch.Generator().manual_seed(seed)
    for weight in training.flow.parameters():
        way = torch.randint(-1, 2, weight.shape, generator=generator)
        weight.mul_(1 + torch.finfo(weight.dtype).eps * way.to(weight))
    return training


def most(found: Mapping[str, Any]) -> float:
    """How far a training that was begun again may be from the kept one, in bits per dimension."""
    return max(ALIKE, MAGNIFIED * found.get("rounding", 0.0))


def reproduce(
    folder: Path,
    *,
    scheduler: str | None = None,
    workers: int = 2,
    root: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> list[str]:
    """Begin every training of a sweep again and keep how much each differs.

    Args:
        folder: of a sweep; ``reproduced.json`` is written there, when all are done.
        scheduler: address of a running Dask scheduler; a local cluster if None.
        workers: processes of the local cluster, each of one thread.
        root: folder or archive of a data set that is not bundled.
        progress: called after every training.

    Returns:
        One line for each training that differs by more than :func:`most`, or could not be run.

    Raises:
        ValueError: no training there, a file that is none, an unreachable scheduler; no Dask.
    """
    kept = {path.stem: _kept(path) for path in sorted((folder / "cells").glob("*.json"))}
    if not kept:
        raise ValueError(f"{folder}: expected trainings of a sweep in cells/, got none")
    found: dict[str, dict[str, Any]] = {}
    lost = []
    with connected(scheduler, workers) as client:
        tasks = {
            client.submit(_run, record["cell"], record["rows"], root, pure=False): name
            for name, record in kept.items()
        }
        for done, (name, value, error) in enumerate(ended(client, tasks), 1):
            if error is not None:
                lost.append(f"{name}: {type(error).__name__}: {one_line(error, most=120)}")
            else:
                off = value["difference"]
                found[name] = value | ({} if math.isfinite(off) else {"difference": str(off)})
                if off > most(value):
                    got = f"{off:.2g} bits/dim within {value['step']} steps"
                    lost.append(f"{name}: expected at most {most(value):.2g}, got {got}")
            progress(done, len(kept))
    outcome = {"machine": describe_machine(), "cells": dict(sorted(found.items()))}
    content = json.dumps(with_seal(outcome), indent=1) + "\n"
    write_file(folder / REPRODUCED, content.encode(), durable=True)
    return sorted(lost)


def _kept(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {"cell": record["cell"], "rows": record["rows"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: expected a kept training, got {error!r}") from None


def _run(cell: dict[str, Any], kept: Sequence[Row], root: Path | None) -> dict[str, Any]:
    return begin_again(Cell.from_json(cell), kept, root)
