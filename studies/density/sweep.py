"""Many cells on a Dask cluster: finished ones are kept, and a lost one is tried again."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from emcheck._internal.cluster import connected, ended
from emcheck._internal.files import write_all, write_file
from emcheck._internal.machine import describe_machine
from emcheck._internal.seal import with_seal
from emcheck.guard import one_line
from studies.density.baselines import baselines
from studies.density.cell import Cell
from studies.density.data import ABOUT, load
from studies.density.outcome import outcome
from studies.density.step_time import step_ratio
from studies.density.training import Diverged, Training, train

#: Times that a cell is tried again after an exception; after the death of its worker Dask tries
#: it again by itself.
RETRIES = 2

Record = dict[str, Any]
Told = Callable[[str, int, int], None]


def run_cell(cell: Cell, checkpoint: Path, root: Path | None) -> Record:
    """Train one cell, from its checkpoint where there is one, and measure it."""
    training = Training(cell, load(cell.data, cell.size, root))
    try:
        train(training, checkpoint)
    except Diverged as error:
        return {"cell": cell.to_json(), "diverged": str(error), "rows": training.rows}
    return {**outcome(training), "machine": describe_machine()}


def sweep(
    cells: Sequence[Cell],
    out: Path,
    *,
    scheduler: str | None = None,
    workers: int = 2,
    root: Path | None = None,
    told: Told = lambda name, done, total: None,
    run: Callable[[Cell, Path, Path | None], Record] = run_cell,
) -> list[str]:
    """Train every cell that ``out`` does not hold yet; one JSON file each, in ``out/cells``.

    A worker that dies costs its own cell only: it is tried again elsewhere and goes on from
    its checkpoint where the workers share a file system.

    Args:
        cells: what to train; those matched in time get their steps from a measurement that is
            kept in ``out/step_ratios.json``.
        out: a folder.
        scheduler: address of a running Dask scheduler; a local cluster if None.
        workers: processes of the local cluster, each of one thread.
        root: folder or archive of a data set that is not bundled.
        told: called with a cell's name and how many of how many are done.
        run: what a worker does with a cell and the place of its checkpoint.

    Returns:
        One line for each cell that could not be finished.

    Raises:
        ValueError: a kept cell with the same name and other settings; an unreachable
            scheduler; no Dask.
    """
    with connected(scheduler, workers) as client:
        cells = _timed(client, cells, out / "step_ratios.json", root)
        waiting = [cell for cell in cells if not _is_kept(cell, out)]
        tasks: dict[Any, Cell | str] = {}
        for name in dict.fromkeys(cell.data for cell in cells):
            if not (out / "baselines" / f"{name}.json").exists():
                size = next(cell.size for cell in cells if cell.data == name)
                tasks[client.submit(_baselines, name, size, root, pure=False)] = name
        for n, cell in enumerate(waiting):
            checkpoint = (out / "checkpoints" / f"{cell.name}.pt").resolve()
            future = client.submit(
                run, cell, checkpoint, root, retries=RETRIES, priority=-n, key=_key(cell)
            )
            tasks[future] = cell
        return _collect(client, tasks, out, len(cells), told)


def _collect(
    client: Any, tasks: dict[Any, Cell | str], out: Path, total: int, told: Told
) -> list[str]:
    done = total - sum(isinstance(what, Cell) for what in tasks.values())
    lost = []
    told("", done, total)
    for what, value, error in ended(client, tasks):
        folder, name = ("cells", what.name) if isinstance(what, Cell) else ("baselines", what)
        if error is None:
            kept = json.loads(json.dumps(value, sort_keys=True))  # in the order of the file
            content = json.dumps(with_seal(kept), indent=1) + "\n"
            write_all(out / folder, {f"{name}.json": content.encode()}, durable=True)
        else:
            lost.append(f"{name}: {type(error).__name__}: {one_line(error, most=120)}")
        done += isinstance(what, Cell)
        told(name, done, total)
    return lost


def _key(cell: Cell) -> str:
    """A name for Dask that no other cell has, nor the same cell of an earlier sweep."""
    return f"{cell.name}-{uuid.uuid4().hex}"


def _baselines(name: str, size: int, root: Path | None) -> Record:
    data = load(name, size, root)
    sizes = {"patches": len(data.test), "places": int(data.places.sum())}
    return baselines(data) | sizes | {"about": ABOUT[name]}


def _is_kept(cell: Cell, out: Path) -> bool:
    path = out / "cells" / f"{cell.name}.json"
    if not path.exists():
        return False
    kept = json.loads(path.read_text(encoding="utf-8"))["cell"]
    if differs := cell.differs_from(kept):
        raise ValueError(
            f"{path}: expected a cell with {differs}; choose another --out or delete it"
        )
    return True


def _timed(client: Any, cells: Sequence[Cell], path: Path, root: Path | None) -> list[Cell]:
    """The cells, those matched in time with the steps that take as long as their rival's."""
    kept: dict[str, dict[str, float]] = (
        json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    )
    found = []
    for cell in cells:
        if cell.control == "time":
            key = (
                f"{cell.data} of {cell.size}, depth {cell.depth}, levels {cell.levels}, "
                f"width {cell.width}, batch {cell.batch}"
                + (f", {cell.mixing}" if cell.mixing != "1x1" else "")
            )
            if key not in kept:  # one after the other: nothing else runs beside it
                kept[key] = client.submit(step_ratio, cell, root, pure=False).result()
                write_file(path, (json.dumps(kept, indent=1) + "\n").encode(), durable=True)
            ratio = kept[key]["ratio"]
            cell = replace(
                cell, steps=round(cell.steps * ratio), warmup=round(cell.warmup * min(1.0, ratio))
            )
        found.append(cell)
    return found
