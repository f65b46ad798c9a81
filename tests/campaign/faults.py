"""Faults of processes: what a target does to its own, and strange surroundings of the command.

Each is a target of ``emcheck check`` in a process that may die, hang or be killed; the exit code
and one line of what is printed are settled beforehand.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

#: A right layer; ``besides`` runs in a place.
_MODULE = """
import atexit, ctypes, faulthandler, gc, os, signal, sys, threading, time
import torch
from torch import nn

{at_import}

class Target(nn.Module):
    def __init__(self):
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(3))
        {in_constructor}

    def forward(self, x):
        {in_forward}
        return x * self.log_scale.exp(), self.log_scale.sum().expand(len(x))

    def inverse(self, z):
        {in_inverse}
        return z * (-self.log_scale).exp(), -self.log_scale.sum().expand(len(z))
"""


@dataclass(frozen=True)
class Fault:
    """A target that does something in one place, or a command in strange surroundings.

    Args:
        name: what is done.
        code: the exit code that is due.
        told: a regular expression for what is printed on either stream.
        at: ``import``, ``constructor``, ``forward`` or ``inverse``.
        does: a line of Python.
        options: of the command.
        environment: of the command, in place of its own; None leaves a variable out.
        shell: what the output is piped to.
        before: what the shell does first.
    """

    name: str
    code: int
    told: str
    at: str = "forward"
    does: str = "pass"
    options: Sequence[str] = ()
    environment: Mapping[str, str | None] = field(default_factory=dict)
    shell: str = ""
    before: str = ""

    def trouble(self, folder: Path) -> str:
        """Why the end is bad, empty if it is good."""
        places = ("import", "constructor", "forward", "inverse")
        lines = {place: self.does if place == self.at else "pass" for place in places}
        (folder / "mine.py").write_text(
            _MODULE.format(
                at_import=lines["import"],
                in_constructor=lines["constructor"],
                in_forward=lines["forward"],
                in_inverse=lines["inverse"],
            ),
            encoding="utf-8",
        )
        words = [sys.executable, "-m", "emcheck", "check", "mine:Target", "--shape=3"]
        words += ["--examples=1", "--time-limit=1", *self.options]
        path = os.pathsep.join(filter(None, sys.path))
        changed = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", **self.environment}
        env = {k: v for k, v in (os.environ | changed).items() if v is not None}
        command: list[str] = words
        if self.shell or self.before:
            quoted = " ".join(f"'{word}'" for word in words)
            first = self.before or "set -o pipefail"
            command = ["bash", "-c", f"{first}; {quoted} {self.shell}"]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", cwd=folder, env=env,
                timeout=240, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return "it did not end within 240 s"
        said = done.stdout + done.stderr
        if "Traceback" in said:
            return f"a traceback: {said[-600:]}"
        if done.returncode != self.code:
            return f"expected exit code {self.code}, got {done.returncode}: {said[-600:]}"
        return "" if re.search(self.told, said) else f"expected {self.told!r}, got {said[-600:]}"


_OK = r"Target on \(3,\), seed 0: ok"
_NOT_OK = r"Target on \(3,\), seed 0: NOT OK"
_DEAD = "the process died by signal"


def faults() -> Iterator[Fault]:
    """All of them."""
    yield Fault("nothing", 0, _OK)
    for place in ("import", "constructor"):
        begun = "while mine was imported" if place == "import" else "while the layer was built"
        yield Fault(f"os._exit(0) at {place}", 2, f"exited with code 0 {begun}", place,
                    "os._exit(0)")  # fmt: skip
        yield Fault(f"SIGKILL at {place}", 2, f"signal 9 .SIGKILL. {begun}", place,
                    "os.kill(os.getpid(), signal.SIGKILL)")  # fmt: skip
        yield Fault(f"sys.exit(0) at {place}", 2, "SystemExit: 0", place, "sys.exit(0)")
        yield Fault(f"KeyboardInterrupt at {place}", 2, "KeyboardInterrupt", place,
                    "raise KeyboardInterrupt")  # fmt: skip
    for place in ("forward", "inverse"):
        yield Fault(f"os._exit(0) in {place}", 1, "exited with code 0", place, "os._exit(0)")
        yield Fault(f"SIGSEGV in {place}", 1, _DEAD, place, "ctypes.string_at(0)")
        yield Fault(f"abort in {place}", 1, _DEAD, place, "os.abort()")
        yield Fault(f"SIGTERM in {place}", 1, _DEAD, place,
                    "os.kill(os.getpid(), signal.SIGTERM)")  # fmt: skip
    yield Fault("sys.exit(0) in forward", 2, "SystemExit: 0", "forward", "sys.exit(0)")
    yield Fault("sys.exit(0) in inverse", 1, "raised SystemExit: 0", "inverse", "sys.exit(0)")
    yield Fault("a loop without end", 1, "inverse did not", "inverse", "\n        ".join(
        ("while True:", "    pass")))  # fmt: skip
    yield Fault("a sleep that holds the lock", 1, "did not answer|did not return|did not end",
                "inverse", "[ctypes.PyDLL(None).sleep(3) for _ in range(100)]")  # fmt: skip
    yield Fault("stopped for ever", 1, "did not answer for .* and was killed", "inverse",
                "os.kill(os.getpid(), signal.SIGSTOP)")  # fmt: skip
    yield Fault("10 GB", 1, "allocate|MemoryError", "inverse", "torch.zeros(10**10).add_(1)",
                ("--memory=1",))  # fmt: skip
    yield Fault("recursion in Python", 1, "RecursionError", "inverse",
                "(lambda f: f(f))(lambda f: f(f))")  # fmt: skip
    yield Fault("every descriptor closed", 1, "closed its line|exited|died", "inverse",
                "os.closerange(3, 256)")  # fmt: skip
    yield Fault("standard output closed", 0, _OK, "forward", "os.close(1) if gc.isenabled() and "
                "not gc.disable() else None")  # fmt: skip
    yield Fault("sys.stdout is None", 0, _OK, "import", "sys.stdout = None")
    yield Fault("SIGALRM ignored", 0, _OK, "import", "signal.signal(signal.SIGALRM, "
                "signal.SIG_IGN)")  # fmt: skip
    yield Fault("a thread that never ends", 0, _OK, "import",
                "threading.Thread(target=time.sleep, args=(10**6,)).start()")  # fmt: skip
    yield Fault("an exit hook that hangs", 0, _OK, "import",
                "atexit.register(time.sleep, 10**6)")  # fmt: skip
    yield Fault("gradients off at import", 0, "changed gradients", "import",
                "torch.set_grad_enabled(False)")  # fmt: skip
    yield Fault("a meta default device at import", 0, "the default device", "import",
                "torch.set_default_device('meta')")  # fmt: skip
    yield Fault("a clock that jumps back by years", 0, _OK, "import",
                "time.time = lambda now=time.time: now() - 10**9")  # fmt: skip
    yield Fault("a clock that stands still", 0, _OK, "import", "time.time = lambda: 0.0")
    yield Fault("the working directory removed", 0, _OK, "import",
                "os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')")  # fmt: skip
    yield Fault("megabytes of output", 0, _OK, "import", "sys.stdout.write('x' * 10**7 + '\\n')")
    yield from _surroundings()


def _surroundings() -> Iterator[Fault]:
    yield Fault("no home", 0, _OK, environment={"HOME": None})
    yield Fault("a home that is no folder", 0, _OK, environment={"HOME": "/dev/null"})
    yield Fault("LANG=C", 0, _OK, environment={"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0"})
    yield Fault("40 columns", 0, _OK, environment={"COLUMNS": "40"})
    yield Fault("TERM=dumb", 0, _OK, environment={"TERM": "dumb", "NO_COLOR": "1"})
    yield Fault("piped to what has ended", 141, "", shell="| true")
    yield Fault("another hash seed", 0, _OK, environment={"PYTHONHASHSEED": "12345"})
    yield Fault("deterministic by environment", 0, _OK,
                environment={"CUBLAS_WORKSPACE_CONFIG": ":4096:8"})  # fmt: skip
    yield Fault("--json to a folder", 2, "a folder of that name", options=("--json=.",))
    yield Fault("--json below a file", 2, "expected a file to write",
                options=("--json=mine.py/below",))  # fmt: skip
    yield Fault("--json to standard output", 0, '"results"', options=("--json=/dev/stdout",))
    yield Fault("files of 1 KiB at most", 2, "expected a file to write, got File too large",
                options=("--json=report.json",), before="ulimit -f 1")  # fmt: skip
    yield Fault("only TMPDIR to write to", 0, _OK, environment={"TMPDIR": "."})
    yield Fault("no folder for temporary files", 0, _OK, environment={"TMPDIR": "/nowhere"})
    yield Fault("a full disk for --json", 2, "expected a file to write, got No space left",
                options=("--json=/dev/full",))  # fmt: skip
