"""Many cases on two workers, one of which is killed on the way: none lost, none double.

By hand, ``tox run -e scale``: 10,000 cases, about ten minutes on two cores. The same with some
hundred cases is in ``test_matrix.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LAYERS = ("PermuteChannels", "ActNorm2d", "Conv1x1", "Conv1x1PLU", "Conv1x1QR")
SHAPES = ("2,2,3", "3,3,2")
CHECKS = (
    "shapes_and_dtypes",
    "logdet_matches_jacobian",
    "inverse_undoes_forward",
    "calls_are_pure",
)


@dataclass(frozen=True)
class Figures:
    """What a run with a death on the way came to.

    Args:
        code: the exit code.
        content: what ``--json`` wrote.
        rows: case -> how many lines of the kept files hold it.
        results: how many results there are.
        killed_at: cases that were done when the worker was killed.
        seconds: from start to end.
        output: what the command printed.
    """

    code: int
    content: dict[str, object]
    rows: Counter[str]
    results: int
    killed_at: int
    seconds: float
    output: str


def command(
    out: Path, layers: tuple[str, ...], shapes: tuple[str, ...], seeds: int, workers: int = 2
) -> list[str]:
    """``emcheck check`` over layers x shapes x both dtypes x seeds."""
    words = [sys.executable, "-m", "emcheck", "check", *layers, "--examples=1"]
    words.append(f"--workers={workers}")
    words += [f"--shape={shape}" for shape in shapes] + [f"--only={name}" for name in CHECKS]
    return [*words, f"--seeds={seeds}", f"--out={out / 'kept'}", f"--json={out / 'out.json'}"]


def kept(out: Path) -> tuple[Counter[str], int]:
    """Case -> how often it is kept, and how many results there are."""
    rows: Counter[str] = Counter()
    results = 0
    for path in (out / "kept" / "results").glob("*.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            rows[str([record[key] for key in ("target", "event", "dtype", "seed")])] += 1
            results += len(record["results"])
    return rows, results


def workers_of(pid: int) -> list[int]:
    """The processes that work for the command."""
    import psutil

    return [
        child.pid
        for child in psutil.Process(pid).children(recursive=True)
        if "spawn_main" in " ".join(child.cmdline())
    ]


@contextmanager
def started(words: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with the block, however that ends."""
    with subprocess.Popen(words, text=True, **options) as child:
        try:
            yield child
        finally:
            child.kill()


def wait_for(out: Path, count: int, child: subprocess.Popen[str]) -> int:
    """Wait until so many cases are kept; how many there are then."""
    while child.poll() is None:
        done = sum(kept(out)[0].values())
        if done >= count:
            return done
        time.sleep(0.5)
    raise RuntimeError(f"ended before {count} cases were done: {child.communicate()[0]}")


def run_with_a_death(
    out: Path, layers: tuple[str, ...], shapes: tuple[str, ...], seeds: int, at: int
) -> Figures:
    """Run the command and kill one of its workers once ``at`` cases are done."""
    start = time.monotonic()
    words = command(out, layers, shapes, seeds)
    with started(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as child:
        done = wait_for(out, at, child)
        os.kill(workers_of(child.pid)[0], signal.SIGKILL)
        output, _ = child.communicate()
    seconds = time.monotonic() - start
    rows, results = kept(out)
    if not (out / "out.json").exists():
        raise RuntimeError(f"ended with {child.returncode}, {len(rows)} cases kept: {output}")
    content = json.loads((out / "out.json").read_text(encoding="utf-8"))
    return Figures(child.returncode, content, rows, results, done, seconds, output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=500, help="500 make 10,000 cases")
    seeds = parser.parse_args().seeds
    expected = len(LAYERS) * len(SHAPES) * 2 * seeds
    with tempfile.TemporaryDirectory() as folder:
        found = run_with_a_death(Path(folder), LAYERS, SHAPES, seeds, expected // 3)
    double = sum(count > 1 for count in found.rows.values())
    print(found.output)
    print(
        f"{expected} cases expected, {len(found.rows)} kept, {expected - len(found.rows)} lost, "
        f"{double} double; {found.results} results; one of two workers killed after "
        f"{found.killed_at} cases; {found.seconds:.0f} s, exit code {found.code}"
    )
    sys.exit(found.code or len(found.rows) != expected or double > 0)


if __name__ == "__main__":
    main()
