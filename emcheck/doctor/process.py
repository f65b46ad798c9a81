"""One self-test in a process of its own, with a time limit."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emcheck.doctor.bounds import NORMWISE
from emcheck.doctor.canary import Canary
from emcheck.doctor.threads import ThreadState

#: What MKL prints, on stdout, when its own threads hand LAPACK a wrong argument.
_COMPLAINT = re.compile(r"\bERROR\b")

#: Threads that wait in a loop slow each other down tenfold where two children, or another
#: program, want the same cores. How they wait does not change how many there are, nor does
#: it hide the known fault; a choice in the caller's environment takes precedence.
_WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}


@dataclass(frozen=True)
class Conditions:
    """The conditions of a child: its environment, a thread state to take over, code to run."""

    environment: Mapping[str, str]
    threads: ThreadState | None = None
    setup: str | None = None


def run(name: str, conditions: Conditions, timeout: float) -> Canary:
    """Run self-test ``name`` once; a hang, a crash or a library's error message is not ok."""
    start = time.monotonic()
    try:
        done = subprocess.run(
            _command(name, conditions),
            env=_WAITING | {**conditions.environment, "PYTHONPATH": _search_path()},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired as expired:
        said = _complaint(_lines(expired.stdout) + _lines(expired.stderr))
        detail = f"hangs: the time limit of {timeout:g} s was reached"
        return _broken(name, time.monotonic() - start, detail + (f"; {said}" if said else ""))
    seconds, out, err = time.monotonic() - start, _lines(done.stdout), _lines(done.stderr)
    if done.returncode != 0 or not out or not out[-1].startswith('{"canary"'):
        detail = ": ".join([f"ended early, {_ending(done.returncode)}", *err[-1:]])
        return _broken(name, seconds, detail)
    return _judged(name, seconds, json.loads(out[-1]), _complaint(out[:-1] + err))


def _judged(name: str, seconds: float, record: Mapping[str, Any], said: str) -> Canary:
    """Judge the child's record; right numbers next to an error message are not ok."""
    ratio, threshold = float(record["ratio"]), float(record["limit"])
    cases, threads = int(record["cases"]), int(record["threads"])
    detail = f"{record['worst']} (worst of {cases})" + (said and f"; {said}")
    ok = ratio <= threshold and not said
    return Canary(name, ok, ratio, threshold, seconds, detail, cases=cases, threads=threads)


def _broken(name: str, seconds: float, detail: str) -> Canary:
    return Canary(name, False, math.inf, NORMWISE, seconds, detail)


def _command(name: str, conditions: Conditions) -> list[str]:
    command = [sys.executable, "-m", "emcheck.doctor.child", name]
    if conditions.threads is not None:
        command += ["--threads", str(conditions.threads.count)]
        if conditions.threads.dynamic is not None:
            command += ["--dynamic", str(int(conditions.threads.dynamic))]
    if conditions.setup is not None:
        command += ["--setup", conditions.setup]
    return command


def _search_path() -> str:
    """Return the parent's search path, so that the child imports the same modules."""
    return os.pathsep.join(path for path in sys.path if path) or os.curdir


def _lines(output: bytes | None) -> list[str]:
    """Return the lines of an output that are not blank."""
    text = (output or b"").decode(errors="replace")
    return [line.strip() for line in text.splitlines() if line.strip()]


def _complaint(lines: list[str]) -> str:
    return next((line for line in reversed(lines) if _COMPLAINT.search(line)), "")


def _ending(code: int) -> str:
    """Return an exit code in words: a negative one is the signal that ended the process."""
    try:
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"
    except ValueError:
        return f"signal {-code}"
