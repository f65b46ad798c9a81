"""Kills of ``emcheck run`` in every stage, in a small copy of this checkout.

The copy runs one layer's tests and benches and one claim; all else is as it is. In each stage the
run is killed by SIGKILL, SIGTERM and SIGINT and started again: finished stages must be kept, no
process may be left, and the results of the last run must be those of one that was never killed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from emcheck.checkout import needed

#: What the copy is made of.
_COPIED = ("emcheck", "properties", "benches", "reports", "docs", "pyproject.toml", "README.md",
           "CHANGELOG.md", "constraints.txt", "tox.ini")  # fmt: skip

#: The tests and benches of one layer, as a hook of pytest.
_FEW = """
def pytest_collection_modifyitems(items):
    items[:] = [item for item in items if "Squeeze2d" in item.nodeid]
"""

_STAGES = ("canaries", "properties", "benches", "density smoke", "claims", "report")

#: Seconds from the beginning of a stage to its kill, and for the end of what was killed.
_AFTER, _PATIENCE = 2.0, 30.0

#: Seconds for a whole stage of the copy.
_LONGEST = 600.0

_DATA = Path("reports") / "data" / "properties.jsonl"


@dataclass
class _Copy:
    """A checkout in which ``emcheck run`` takes minutes, and what its runs have said."""

    folder: Path
    finished: list[str] = field(default_factory=list)

    def make(self) -> None:
        root = needed("the campaign")
        for name in _COPIED:
            source, target = root / name, self.folder / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        (self.folder / "conftest.py").write_text(_FEW, encoding="utf-8")
        with (self.folder / "emcheck" / "claims" / "__init__.py").open("a") as claims:
            claims.write("\nCLAIMS = dict(list(CLAIMS.items())[:1])\n")

    def start(self, *words: str) -> subprocess.Popen[str]:
        """A command of the copy in a session of its own, its output in the file ``said``."""
        path = os.pathsep.join([str(self.folder), *filter(None, sys.path)])
        changed = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        with (self.folder / "said").open("w") as said:
            return subprocess.Popen(
                [sys.executable, "-m", *words], cwd=self.folder, env=os.environ | changed,
                stdout=said, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
                start_new_session=True, preexec_fn=_hear,
            )  # fmt: skip

    def said(self) -> str:
        return (self.folder / "said").read_text(encoding="utf-8", errors="replace")

    def left(self) -> list[str]:
        """The processes that work in the folder."""
        commands = (_command(path, self.folder) for path in Path("/proc").glob("[0-9]*"))
        return [command for command in commands if command]

    def results(self) -> Counter[tuple[str, ...]]:
        """What each record of the properties is of, and its verdict."""
        lines = (self.folder / _DATA).read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines]
        names = ("kind", "name", "check", "layer", "dtype", "fault", "verdict")
        return Counter(tuple(str(record.get(name)) for name in names) for record in records)


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


def runs(folder: Path) -> Iterator[tuple[str, str]]:
    """What was killed, and why its end is bad, empty if it is good."""
    copy = _Copy(folder)
    copy.make()
    wanted = _undisturbed(copy)
    for number, stage in enumerate(_STAGES, start=1):
        for killed_by in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
            yield f"{killed_by.name} in stage {stage}", _killed(copy, number, killed_by)
        if number < len(_STAGES):
            yield f"going on after the kills of stage {stage}", _went_on(copy, number)
    yield "the end of a run that was killed eighteen times", _ended(copy, wanted)


def _undisturbed(copy: _Copy) -> Counter[tuple[str, ...]]:
    """The results of tests that nothing disturbs."""
    words = ("pytest", "properties", "--hypothesis-profile=dev", "-n2", "-m", "not slow")
    copy.start(*words).wait(_LONGEST)
    return copy.results()


def _wait_for_stage(copy: _Copy, child: subprocess.Popen[str], number: int) -> str:
    """Wait until a stage has begun; why it has not."""
    begun = re.compile(rf"^\[{number}/\d\] [a-z ]+$", re.MULTILINE)
    until = time.monotonic() + _LONGEST
    while not begun.search(copy.said()):
        if child.poll() is not None or time.monotonic() > until:
            return f"stage {number} did not begin: {copy.said()[-600:]}"
        time.sleep(0.05)
    return ""


def _killed(copy: _Copy, number: int, by: signal.Signals) -> str:
    child = copy.start("emcheck", "run", "--workers=2")
    trouble = _wait_for_stage(copy, child, number)
    time.sleep(_AFTER)
    # Ctrl-C goes to all processes of a terminal, a kill to one.
    (os.killpg if by == signal.SIGINT else os.kill)(child.pid, by)
    try:
        code = child.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        return f"it did not end within {_PATIENCE:g} s"
    until = time.monotonic() + _PATIENCE
    while copy.left() and time.monotonic() < until:
        time.sleep(0.1)
    said = copy.said()
    if copy.left():
        return f"left behind: {copy.left()}"
    if "Traceback" in said:
        return f"a traceback: {said[-1500:]}"
    if by == signal.SIGINT and (code != 130 or "interrupted" not in said):
        return f"expected code 130 and a line on the interruption, got {code}: {said[-300:]}"
    if by != signal.SIGINT and code not in (-by, 128 + by):
        return f"expected an end by {by.name}, got code {code}: {said[-300:]}"
    return trouble or _kept(copy, said)


def _kept(copy: _Copy, said: str) -> str:
    """Whether every finished stage was kept."""
    again = [stage for stage in copy.finished if f"{stage}: kept from the interrupted" not in said]
    return f"begun anew: {again}" if again else ""


def _went_on(copy: _Copy, number: int) -> str:
    """Let a stage end; the run is killed as soon as the next begins."""
    child = copy.start("emcheck", "run", "--workers=2")
    trouble = _wait_for_stage(copy, child, number + 1)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    stage = _STAGES[number - 1]
    if not trouble and f"{stage}: ok" not in copy.said():
        trouble = f"stage {stage} is not ok: {copy.said()[-600:]}"
    copy.finished.append(stage)
    return trouble


def _ended(copy: _Copy, wanted: Counter[tuple[str, ...]]) -> str:
    child = copy.start("emcheck", "run", "--workers=2")
    code, said = child.wait(_LONGEST), copy.said()
    if code:
        return f"expected exit code 0, got {code}: {said[-600:]}"
    got = copy.results()
    if got != wanted:
        return (
            f"expected the results of a run without kills; lost {wanted - got}, more {got - wanted}"
        )
    return _kept(copy, said)
