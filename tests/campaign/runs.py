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
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from emcheck._internal.checkout import needed
from studies.suite.settings import LOCAL
from tests.campaign.workplace import KILLS, LONGEST, Workplace

#: What the copy is made of.
_COPIED = ("emcheck", "studies", "properties", "tests", "benches", "reports", "docs",
           "pyproject.toml", "README.md", "CHANGELOG.md", "constraints.txt", "tox.ini")  # fmt: skip

#: The tests and benches of one layer, as a hook of pytest.
_FEW = """
def pytest_collection_modifyitems(items):
    items[:] = [item for item in items if "Squeeze2d" in item.nodeid]
"""

_RUN = ("emcheck", "run", "--workers=2")

_STAGES = ("self-test", "properties", "benches", "density smoke", "claims", "report")

#: Seconds from the beginning of a stage to its kill.
_AFTER = 2.0

_DATA = Path(LOCAL) / "data" / "properties.jsonl"

#: What each record of the properties is of, and its verdict.
_NAMES = ("kind", "name", "check", "layer", "dtype", "fault", "verdict")

Results = Counter[tuple[str, ...]]


def runs(folder: Path) -> Iterator[tuple[str, str]]:
    """What was killed, and why its end is bad, empty if it is good."""
    place, finished = Workplace(folder), list[str]()
    _copy(folder)
    alone = ("pytest", "properties", "--hypothesis-profile=dev", "-n2",
             f"--emcheck-results={_DATA}")  # fmt: skip
    for killed_by in KILLS[:2]:  # pytest has its own words for Ctrl-C
        child = place.start(*alone)
        trouble = place.wait(child, lambda: "created: 2/2" in place.said, "workers")
        yield (
            f"{killed_by.name} of pytest properties",
            trouble or place.kill(child, killed_by, False),
        )
    yield "pytest properties, not killed", place.finish(place.start(*alone), told=r"\d\d passed")
    wanted = _results(folder)
    for number, stage in enumerate(_STAGES, start=1):
        for killed_by in KILLS:
            child = place.start(*_RUN)
            trouble = _begun(place, child, number)
            time.sleep(_AFTER)
            trouble = place.kill(child, killed_by) or trouble or _kept(finished, place.said)
            yield f"{killed_by.name} in stage {stage}", trouble
        if number < len(_STAGES):
            yield f"going on after the kills of stage {stage}", _went_on(place, number)
            finished.append(stage)
    trouble = place.finish(place.start(*_RUN)) or _kept(finished, place.said)
    got = _results(folder)
    if got != wanted:
        trouble = f"without kills the results differ; lost {wanted - got}, more {got - wanted}"
    yield "the end of a run that was killed eighteen times", trouble


def _copy(folder: Path) -> None:
    """A checkout in which ``emcheck run`` takes minutes."""
    root = needed("the campaign")
    for name in _COPIED:
        source, target = root / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    (folder / "conftest.py").write_text(_FEW, encoding="utf-8")
    with (folder / "studies" / "claims" / "__init__.py").open("a") as claims:
        claims.write("\nCLAIMS = dict(list(CLAIMS.items())[:1])\n")


def _results(folder: Path) -> Results:
    lines = (folder / _DATA).read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    return Counter(tuple(str(record.get(name)) for name in _NAMES) for record in records)


def _begun(place: Workplace, child: subprocess.Popen[str], number: int) -> str:
    """Wait for a stage; why it has not begun."""
    line = re.compile(rf"^\[{number}/\d\] [a-z ]+$", re.MULTILINE)
    return place.wait(child, lambda: bool(line.search(place.said)), f"stage {number}")


def _kept(finished: list[str], said: str) -> str:
    """Whether every finished stage was kept."""
    again = [stage for stage in finished if f"{stage}: kept from the interrupted" not in said]
    return f"begun anew: {again}" if again else ""


def _went_on(place: Workplace, number: int) -> str:
    """Let a stage end; the run is killed as soon as the next begins."""
    child = place.start(*_RUN)
    trouble = _begun(place, child, number + 1)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait(LONGEST)
    stage = _STAGES[number - 1]
    if not trouble and f"{stage}: ok" not in place.said:
        trouble = f"stage {stage} is not ok: {place.said[-600:]}"
    return trouble
