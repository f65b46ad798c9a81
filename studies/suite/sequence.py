"""Stages one after the other; what an interrupted run has finished is not done again."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emcheck._internal import fingerprint
from emcheck._internal.files import write_all
from emcheck._internal.lock import locked
from emcheck._internal.machine import commit
from emcheck._internal.seal import sealed, unsealed
from studies.suite.settings import Settings

#: What a run keeps while it is not finished, in the checkout.
KEPT = ".emcheck"

#: What the numbers of a run depend on, in the checkout.
SOURCES = ("emcheck", "studies", "properties", "benches", "pyproject.toml", "constraints.txt")

_STATE = "stages.json"


@dataclass(frozen=True)
class Context:
    """What a stage is given.

    Args:
        settings: what the user chose.
        report: the folder of the report; what is measured lies below it in ``data``.
        folders: by stage, a folder that outlives interruptions.
    """

    settings: Settings
    report: Path
    folders: Mapping[str, Path]

    @property
    def data(self) -> Path:
        """The folder of what is measured."""
        return self.report / "data"


@dataclass(frozen=True)
class Stage:
    """One step of a run.

    Args:
        name: what it is called on the terminal.
        run: does it and returns an exit code.
        depends: names of the settings that it depends on.
        writes: files in the checkout that it leaves; if one has changed since, it runs again.
        always: it runs again even if it is finished.
    """

    name: str
    run: Callable[[Context], int]
    depends: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    always: bool = False


def _say(line: str) -> None:
    """At once: what a stage prints, perhaps from another process, comes between."""
    print(line, flush=True)


def run_stages(
    stages: Sequence[Stage],
    settings: Settings,
    root: Path,
    *,
    fresh: bool = False,
    told: Callable[[str], None] = _say,
) -> int:
    """Run the stages that no interrupted run has finished for the same sources and settings.

    A stage that failed runs again. Once the last has ended, nothing is kept: the next run
    starts anew.

    Args:
        stages: in order; all of them run, whatever the others return.
        settings: what the user chose.
        root: the checkout.
        fresh: start anew.
        told: called with a line before and after each stage.

    Returns:
        The largest exit code.

    Raises:
        ValueError: another run is under way.
    """
    kept, start = root / KEPT, time.monotonic()
    kept.mkdir(exist_ok=True)
    with locked(root / f"{KEPT}.lock", "another emcheck run is under way"):
        if fresh:
            shutil.rmtree(kept)
        run = _Run(stages, settings, root, told)
        codes = [run.take(number, stage) for number, stage in enumerate(stages, start=1)]
        shutil.rmtree(kept)
    code = max(codes, default=0)
    told(f"{len(stages)} stages, {_minutes(time.monotonic() - start)}, exit code {code}")
    return code


class _Run:
    """The stages of one run, and what is kept of an interrupted one."""

    def __init__(
        self,
        stages: Sequence[Stage],
        settings: Settings,
        root: Path,
        told: Callable[[str], None],
    ) -> None:
        self.stages, self.settings, self.root, self.told = stages, settings, root, told
        self.kept = root / KEPT
        self.keys = _keys(stages, settings, root)
        self.finished = _finished(self.kept)
        self.context = Context(
            settings,
            root / settings.folder,
            {
                name: self.kept / f"{name.replace(' ', '-')}-{key}"
                for name, key in self.keys.items()
            },
        )

    def take(self, number: int, stage: Stage) -> int:
        """Run a stage unless it is finished; its exit code."""
        title = f"[{number}/{len(self.stages)}] {stage.name}"
        entry = self.finished.get(stage.name, {})
        wanted = self._made(stage)
        if not stage.always and {name: entry.get(name) for name in wanted} == wanted:
            told = f"kept from the interrupted run ({_minutes(entry['seconds'])})"
            self.told(f"{title}: {told}")
            return 0
        self.told(title)
        start = time.monotonic()
        self.context.folders[stage.name].mkdir(parents=True, exist_ok=True)
        code = stage.run(self.context)
        seconds = time.monotonic() - start
        self.told(f"{title}: {'ok' if code == 0 else f'exit code {code}'} ({_minutes(seconds)})")
        if code == 0 and _keys(self.stages, self.settings, self.root) == self.keys:
            self.finished[stage.name] = self._made(stage) | {"seconds": round(seconds, 1)}
            write_all(self.kept, {_STATE: sealed(self.finished).encode()}, durable=True)
        return code

    def _made(self, stage: Stage) -> dict[str, Any]:
        """What a stage is kept for."""
        return {"key": self.keys[stage.name], "files": _files(stage, self.root)}


def _keys(stages: Sequence[Stage], settings: Settings, root: Path) -> dict[str, str]:
    """Stage -> a word for what it depends on: sources, versions, commit and settings."""
    sources = fingerprint.of_sources(*(root / name for name in SOURCES))
    made_for = sources, commit(root)
    return {
        stage.name: fingerprint.digest(
            made_for, stage.name, [(name, getattr(settings, name)) for name in stage.depends]
        )
        for stage in stages
    }


def _files(stage: Stage, root: Path) -> dict[str, str | None]:
    """Name and digest of what a stage leaves behind."""
    paths = {name: root / name for name in stage.writes}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        for name, path in paths.items()
    }


def _finished(kept: Path) -> dict[str, dict[str, Any]]:
    """Stage -> what is known of it, nothing where nothing can be read."""
    try:
        return unsealed((kept / _STATE).read_bytes())
    except (OSError, ValueError):
        return {}


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
