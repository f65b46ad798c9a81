"""Commands in a folder of their own, killed on the way, and what they leave behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

#: Seconds for the end of what was killed, and for anything else that is waited for.
PATIENCE, LONGEST = 30.0, 600.0

KILLS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


@dataclass
class Workplace:
    """A folder in which commands run one after the other; the last one's output is ``said``."""

    folder: Path

    def start(self, *words: str, at: Path | None = None) -> subprocess.Popen[str]:
        """``python -m WORDS`` in a session of its own; ``at`` comes first among the modules."""
        path = os.pathsep.join([str(at or self.folder), *filter(None, sys.path)])
        changed = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        with (self.folder / "said").open("w") as said:
            return subprocess.Popen(
                [sys.executable, "-m", *words], cwd=self.folder, env=os.environ | changed,
                stdout=said, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
                start_new_session=True, preexec_fn=_hear,
            )  # fmt: skip

    @property
    def said(self) -> str:
        return (self.folder / "said").read_text(encoding="utf-8", errors="replace")

    def wait(self, child: subprocess.Popen[str], seen: Callable[[], bool], what: str) -> str:
        """Wait until something is seen; why it was not."""
        until = time.monotonic() + LONGEST
        while not seen():
            if child.poll() is not None or time.monotonic() > until:
                return f"expected {what}, got {self.said[-600:]}"
            time.sleep(0.05)
        return ""

    def kill(self, child: subprocess.Popen[str], by: signal.Signals, words: bool = True) -> str:
        """End a command: Ctrl-C goes to all processes of a terminal, a kill to one.

        Args:
            child: the command.
            by: the signal.
            words: whether what it prints is judged: the workers of pytest end with a traceback.

        Returns:
            Why its end is bad: it goes on, leaves a process, shows a traceback, or has another
            exit code than the signal's.
        """
        (os.killpg if by == signal.SIGINT else os.kill)(child.pid, by)
        try:
            code = child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            return f"it did not end within {PATIENCE:g} s"
        until = time.monotonic() + PATIENCE
        while self.left and time.monotonic() < until:
            time.sleep(0.1)
        if self.left:
            return f"left behind: {self.left}"
        if words and "Traceback" in self.said:
            return f"a traceback: {self.said[-1500:]}"
        if by == signal.SIGINT and (code != 130 or "interrupted" not in self.said):
            return f"expected code 130 and a line on it, got {code}: {self.said[-300:]}"
        if by != signal.SIGINT and code not in (-by, 128 + by):
            return f"expected an end by {by.name}, got code {code}: {self.said[-300:]}"
        return ""

    def finish(self, child: subprocess.Popen[str], code: int = 0, told: str = "") -> str:
        """Wait for the end; why it is not the one that is due."""
        try:
            got = child.wait(LONGEST)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            return f"it did not end within {LONGEST:g} s"
        if "Traceback" in self.said:
            return f"a traceback: {self.said[-1500:]}"
        if got != code or not re.search(told, self.said):
            return f"expected exit code {code} and {told!r}, got {got}: {self.said[-600:]}"
        return ""

    @property
    def left(self) -> list[str]:
        """The processes that work in the folder."""
        commands = (_command(path, self.folder) for path in Path("/proc").glob("[0-9]*"))
        return [command for command in commands if command]


def _command(process: Path, folder: Path) -> str:
    """The command line of a process that works in a folder, else nothing."""
    try:
        if Path(os.readlink(process / "cwd")) == folder:
            return (process / "cmdline").read_text().replace("\0", " ").strip()
    except OSError:  # it has ended, or is another's
        pass
    return ""


def _hear() -> None:
    """A child started in the background may have been told to ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
