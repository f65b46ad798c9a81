"""Kills of a matrix, of its workers and its scheduler, of a sweep, and two surveys at once.

Whatever is killed: the same command goes on, every case is there once, and says what it says in
a run that nobody disturbed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.campaign.workplace import KILLS, LONGEST, Workplace
from tests.scale import command, kept, workers_of

_LAYERS, _SHAPES, _SEEDS = ("PermuteChannels", "ActNorm2d"), ("2,2,2",), 40

#: A scheduler with two workers, until it is killed.
_SCHEDULER = """
import time
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        with open("address", "w") as file:
            file.write(cluster.scheduler_address)
        time.sleep(10**6)
"""


def kills(folder: Path) -> Iterator[tuple[str, str]]:
    """What was killed, and why its end is bad, empty if it is good."""
    wanted = _matrix(folder / "undisturbed", lambda place, child: "")[1]
    for killed_by in KILLS:
        trouble, got = _matrix(
            folder / f"matrix-{killed_by.name}",
            lambda place, child, by=killed_by: place.kill(child, by),
        )
        yield f"{killed_by.name} of a matrix", trouble or _differ(got, wanted)
    for name, act in _TO_A_WORKER.items():
        trouble, got = _matrix(folder / name.replace(" ", "-"), act)
        yield f"{name} of a matrix", trouble or _differ(got, wanted)
    trouble, got = _without_scheduler(folder / "scheduler")
    yield "SIGKILL of the scheduler of a matrix", trouble or _differ(got, wanted)
    yield from _sweeps(folder)
    yield "two surveys in one folder", _two_surveys(folder / "surveys")


def _matrix(
    folder: Path, disturb: Callable[[Workplace, subprocess.Popen[str]], str], *more: str
) -> tuple[str, list[Any]]:
    """A matrix that is disturbed once some cases are kept, and what it comes to in the end."""
    folder.mkdir()
    place = Workplace(folder)
    words = [*command(folder, _LAYERS, _SHAPES, _SEEDS)[2:], *more]
    child = place.start(*words)
    some = len(_LAYERS) * _SEEDS // 4
    trouble = place.wait(child, lambda: kept(folder)[0].total() >= some, "kept cases")
    trouble = trouble or disturb(place, child)
    trouble = trouble or (place.finish(child) if child.poll() is None else "")
    trouble = trouble or place.finish(place.start(*command(folder, _LAYERS, _SHAPES, _SEEDS)[2:]))
    return trouble, [] if trouble else _content(folder)


def _content(folder: Path) -> list[Any]:
    """Every kept result without its time, in order."""
    lines = [
        json.loads(line)
        for path in (folder / "kept" / "results").glob("*.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    left_out = ("seconds", "seal")
    rows = [{key: value for key, value in line.items() if key not in left_out} for line in lines]
    return sorted(rows, key=json.dumps)


def _differ(got: list[Any], wanted: list[Any]) -> str:
    return "" if got == wanted else f"{len(got)} results, expected the {len(wanted)} of a quiet run"


def _to_first(*signals: signal.Signals) -> Callable[[Workplace, subprocess.Popen[str]], str]:
    """Signals to the first worker, five seconds apart."""

    def act(place: Workplace, child: subprocess.Popen[str]) -> str:
        worker = workers_of(child.pid)[0]
        for number in signals:
            os.kill(worker, number)
            time.sleep(5 if len(signals) > 1 else 0)
        return ""

    return act


_TO_A_WORKER = {
    "SIGKILL of a worker": _to_first(signal.SIGKILL),
    "SIGTERM of one worker": _to_first(signal.SIGTERM),
    "a pause of a worker": _to_first(signal.SIGSTOP, signal.SIGCONT),
}


def _without_scheduler(folder: Path) -> tuple[str, list[Any]]:
    """The scheduler dies on the way: one line and code 2, and the results are kept."""
    home = folder.parent / "dask"
    home.mkdir()
    (home / "scheduler.py").write_text(_SCHEDULER, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, "scheduler.py"], cwd=home, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as scheduler:  # fmt: skip
        try:
            until = time.monotonic() + LONGEST
            while not (home / "address").exists() or not (home / "address").read_text():
                if time.monotonic() > until:
                    return "no scheduler began", []
                time.sleep(0.1)

            def disturb(place: Workplace, child: subprocess.Popen[str]) -> str:
                os.killpg(scheduler.pid, signal.SIGKILL)
                return place.finish(child, 2, "^emcheck: .*scheduler")

            address = (home / "address").read_text()
            return _matrix(folder, disturb, f"--scheduler={address}")
        finally:
            os.killpg(scheduler.pid, signal.SIGKILL)


def _sweeps(folder: Path) -> Iterator[tuple[str, str]]:
    """A small sweep is killed and goes on; its cells are those of one that was not."""
    words = ("emcheck", "density", "sweep", "--plan=smoke", "--steps=30", "--out=cells")
    found = {}
    for name in ("undisturbed", *(killed_by.name for killed_by in KILLS)):
        place = Workplace(folder / f"sweep-{name}")
        place.folder.mkdir()
        cells = place.folder / "cells" / "cells"
        trouble = ""
        if name != "undisturbed":
            child = place.start(*words)
            trouble = place.wait(child, lambda cells=cells: any(cells.glob("*.json")), "a cell")
            trouble = trouble or place.kill(child, signal.Signals[name])
        trouble = trouble or place.finish(place.start(*words))
        # A cell of equal time takes as many steps as the machine is fast.
        kept = [path for path in cells.glob("*.json") if "=time" not in path.name]
        found[name] = {path.name: _losses(path) for path in kept}
        if not trouble and found[name] != found["undisturbed"]:
            trouble = f"expected {found['undisturbed']}, got {found[name]}"
        yield f"{name} of a sweep", trouble


def _losses(path: Path) -> str:
    """What a cell came to, without its times."""
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    kept = [{key: value for key, value in row.items() if "second" not in key} for row in rows]
    return json.dumps(kept)  # as text: a loss may be NaN, which is not equal to itself


def _two_surveys(folder: Path) -> str:
    """The second of two surveys in one folder is refused in a line; the first goes on."""
    folder.mkdir()
    words = ("emcheck", "survey", "FrEIA", f"--out={folder}")
    first = Workplace(folder)
    child = first.start(*words)
    part = folder / "data"
    trouble = first.wait(child, lambda: any(part.glob(".*")), "the first lines")
    (folder / "second").mkdir()
    second = Workplace(folder / "second")
    trouble = trouble or second.finish(second.start(*words), 2, "^emcheck: .*another")
    return trouble or first.finish(child)
