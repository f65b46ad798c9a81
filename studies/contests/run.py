"""Contests in processes of their own: ``python -m studies.contests.run`` is one of them.

A ratio is only as good as the process it was measured in, so each is the median over several
processes, and the thread count of each is chosen by its environment.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from emcheck._internal.files import write_file
from emcheck._internal.machine import describe_machine, present_devices
from emcheck._internal.seal import sealed
from emcheck.layers import AutoregressiveConv2d
from studies.contests.contest import Contest, compete
from studies.contests.flows import BATCH, SHAPE, kept_for_backward, sampling, training_steps
from studies.contests.layers import contests
from studies.contests.report import CACHE_ON_DISK, EMPTY_CACHE, KEPT, PEAK

#: Seconds for one contest in one process.
SECONDS = 0.6

#: Processes that measure first calls: compiling takes long and varies little.
FIRST_CALLS = 3

Record = dict[str, Any]

#: In the environment of a process, where its flows compete.
_DEVICE = "EMCHECK_CONTEST_DEVICE"


def run_contests(
    out: Path,
    processes: int,
    threads: Sequence[int],
    advance: Callable[[int, int], None] = lambda done, total: None,
    device: str = "cpu",
) -> Path:
    """Run every contest in ``processes`` processes for each thread count; write JSON lines.

    On a device other than the CPU whole flows compete, which run there as they are.

    Raises:
        ValueError: a process that failed, with its last line.
    """
    if processes < 1 or not threads or min(threads) < 1:
        raise ValueError(f"expected at least 1 process and thread, got {processes} and {threads}")
    if device not in present_devices():
        raise ValueError(f"expected a device of this machine, got {device}")
    if out.is_dir() or not os.access(out.parent, os.W_OK):
        raise ValueError(f"expected a file to write, got {out}")
    header = {"kind": "contests", **describe_machine(), "date": time.strftime("%Y-%m-%d")}
    header |= {"threads": list(threads), "processes": processes}
    records: list[Record] = []
    jobs = [(process, count) for process in range(processes) for count in threads]
    for done, (process, count) in enumerate(jobs):
        advance(done, len(jobs) + 1)
        records += _one_process(process, count, device)
    advance(len(jobs), len(jobs) + 1)
    if device == "cpu":
        records += _first_calls(min(processes, FIRST_CALLS), min(threads))
    advance(len(jobs) + 1, len(jobs) + 1)
    lines = "".join(map(sealed, [header, *records]))
    write_file(out, lines.encode())
    return out


def _one_process(process: int, threads: int, device: str) -> list[Record]:
    environment = {"OMP_NUM_THREADS": str(threads), _DEVICE: device}
    rows = _output("studies.contests.run", environment)
    return [{"kind": "contest", "process": process, "threads": threads, **row} for row in rows]


def _first_calls(processes: int, threads: int) -> list[Record]:
    """Every compiled call with an empty cache, and again with what that left on the disk."""
    records = []
    for process in range(processes):
        with tempfile.TemporaryDirectory() as folder:
            for contest in (EMPTY_CACHE, CACHE_ON_DISK):
                environment = {"OMP_NUM_THREADS": str(threads), "NUMBA_CACHE_DIR": folder}
                common = {"kind": "contest", "process": process, "threads": threads}
                rows = _output("studies.contests.first_calls", environment)
                records += [{**common, "contest": contest, **row} for row in rows]
    return records


def _output(module: str, environment: dict[str, str]) -> list[Record]:
    """The records that a module prints in a process of its own."""
    command = [sys.executable, "-m", module]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ValueError(
            f"expected a process of contests to end, got exit {done.returncode}: {last}"
        )
    return [json.loads(line) for line in done.stdout.splitlines()]


def every_contest(large: int = 256) -> Iterator[Contest]:
    """Solvers and layers, smallest first, then whole flows."""
    return chain(contests(large), (make() for make in (training_steps, sampling)))


def peak_memory() -> dict[str, Any]:
    """Growth of the peak resident memory over one inverse, in sizes of its input.

    Meant for a fresh process: a peak never comes down again.
    """
    generator = torch.Generator().manual_seed(0)
    layer = AutoregressiveConv2d(12, generator=generator)
    with torch.no_grad():
        # Compiles and loads the code for images too large for one call, and starts threads.
        layer.inverse(torch.randn(32, 12, 80, 80, generator=generator))
        x = torch.randn(32, 12, 256, 256, generator=generator)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        layer.inverse(x)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024
    return {"peak_memory": (after - before) * unit / (x.numel() * x.element_size())}


def main() -> None:
    """One process: the memory first, while the process is fresh, then every contest."""
    device = os.environ.get(_DEVICE, "cpu")
    if device != "cpu":
        _tell(make(device) for make in (training_steps, sampling))
        return
    told = {"seconds": None, "rounds": 1, "first": None, **peak_memory()}
    told |= {"contest": PEAK, "batch": 32, "event": "12x256x256", "competitor": "inverse"}
    print(json.dumps(told))
    of_flows = {**told, "contest": KEPT, "batch": BATCH, "event": "x".join(map(str, SHAPE))}
    for name, size in kept_for_backward().items():
        print(json.dumps({**of_flows, "competitor": name, "peak_memory": size}))
    _tell(every_contest())


def _tell(compared: Iterable[Contest]) -> None:
    for contest in compared:
        for row in compete(contest, SECONDS):
            print(json.dumps({**row, "peak_memory": None}), flush=True)


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
