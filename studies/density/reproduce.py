"""Whether kept trainings are those of the present code: each is begun again and compared."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

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
#: Another kind of processor rounds otherwise, which came to 5e-6 after 60 steps.
ALIKE = 5e-5

#: Called with how many trainings are done, and of how many.
Progress = Callable[[int, int], None]


def begin_again(cell: Cell, kept: Sequence[Row], root: Path | None = None) -> dict[str, Any]:
    """Train a cell to the second row of its kept log and compare both rows.

    On one thread and one kind of processor a training depends on its seed alone: where its first
    twentieth gives the same bits, the present code trains as the code did that was kept.

    Returns:
        ``step``, up to which it was trained, ``same``, whether all bits are, and ``difference``,
        the largest of the training and validation loss in bits per dimension.
    """
    training = Training(cell, load(cell.data, cell.size, root))
    rows = []
    for row in kept[:ROWS]:
        while training.step_number < row["step"]:
            training.step()
        rows.append(training.log())
    pairs = [
        (float(one[key]), float(other[key]))
        for one, other in zip(rows, kept, strict=False)
        for key in ("train", "valid")
    ]
    off = [abs(one - other) for one, other in pairs if one.hex() != other.hex()]  # NaN equals NaN
    difference = math.inf if any(map(math.isnan, off)) else max(off, default=0.0)
    return {"step": training.step_number, "same": not off, "difference": difference}


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
        One line for each training that differs by more than :data:`ALIKE` or could not be run.

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
                if off > ALIKE:
                    got = f"{off:.2g} bits/dim within {value['step']} steps"
                    lost.append(f"{name}: expected at most {ALIKE:g}, got {got}")
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
