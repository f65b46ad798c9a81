"""``pytest --emcheck-target=module:factory --emcheck-shape=4,8,6``: no test file needed."""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from emcheck.isolated import Job
    from emcheck.kit.pytest_checks import LayerCheck


#: The id of a check of a layer, as pytest prints it: ``::Mixing-4x8x6-logdets_cancel``.
_ID = re.compile(r"^(::)?[\w.\[\]]+-\d+(x\d+)*-\w+$")

#: Ids of the checks named in place of files; if empty, all checks run.
_WANTED = pytest.StashKey[frozenset[str]]()

#: Closing it ends the processes in which the targets are checked.
_OPENED = pytest.StashKey[ExitStack]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("emcheck")
    group.addoption(
        "--emcheck-target",
        action="append",
        default=[],
        metavar="MODULE:FACTORY",
        help="check the layer that MODULE:FACTORY is or returns; may be repeated",
    )
    group.addoption(
        "--emcheck-shape", action="append", default=[], metavar="C,H,W",
        help="the event of the target, for example 4,8,6; one, or one for each target",
    )  # fmt: skip
    group.addoption(
        "--emcheck",
        action="store_true",
        help="check the targets of [tool.emcheck] in pyproject.toml",
    )
    group.addoption(
        "--emcheck-seed", type=int, help="random seed; 0, or the one in pyproject.toml, by default"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Run the target alone if a target but no test file is named."""
    asked = config.getoption("--emcheck-target") or config.getoption("--emcheck")
    if not asked:
        return
    named = config.args_source is pytest.Config.ArgsSource.ARGS
    ids = [word for word in config.args if _ID.match(word) and not Path(word).exists()]
    config.stash[_WANTED] = frozenset(word.removeprefix("::") for word in ids)
    config.args = [word for word in config.args if word not in ids] if named else []


def pytest_sessionstart(session: pytest.Session) -> None:
    """Load the targets here too: xdist collects in its workers and does not show their errors."""
    if getattr(session.config.option, "tx", None) and not hasattr(session.config, "workerinput"):
        _layer_checks(session.config)
        _close(session.config)


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the processes of the targets with the session."""
    _close(config)


def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    """Add one item for each check of each target."""
    wanted = session.config.stash.get(_WANTED, frozenset())
    items += [
        CheckItem.from_parent(session, name=check.identity, layer_check=check)
        for check in _layer_checks(session.config)
        if not wanted or check.identity in wanted
    ]


def _layer_checks(config: pytest.Config) -> list[LayerCheck]:
    opened = config.stash.setdefault(_OPENED, ExitStack())
    seed = config.getoption("--emcheck-seed")
    found = _configured(config.rootpath, seed, opened) if config.getoption("--emcheck") else []
    targets = config.getoption("--emcheck-target")
    if not targets:
        return found
    shapes = config.getoption("--emcheck-shape")
    if len(shapes) not in (1, len(targets)):
        raise pytest.UsageError(
            f"expected one --emcheck-shape or one for each --emcheck-target, got {len(shapes)}"
        )
    shapes = shapes * len(targets) if len(shapes) == 1 else shapes
    for target, shape in zip(targets, shapes, strict=True):
        found += _of_target(target, shape, seed or 0, opened)
    return found


def _configured(folder: Path, seed: int | None, opened: ExitStack) -> list[LayerCheck]:
    """Return the checks of the configured targets, with ``seed`` if given, else with their own."""
    from emcheck.config import configured

    try:
        jobs = configured(folder)
        jobs = jobs if seed is None else [replace(job, seed=seed) for job in jobs]
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None
    return [check for job in jobs for check in _of_job(job, opened)]


def _of_target(target: str, shape: str, seed: int, opened: ExitStack) -> list[LayerCheck]:
    from emcheck._internal.words import parse_shape
    from emcheck.isolated import Job

    try:
        return _of_job(Job(target, parse_shape(shape), seed=seed), opened)
    except ValueError as error:
        told = str(error)
        raise pytest.UsageError(told if told.startswith(target) else f"{target}: {told}") from error


def _of_job(job: Job, opened: ExitStack) -> list[LayerCheck]:
    """Return the checks of a target, which keeps its own process until the session ends."""
    from emcheck import isolated
    from emcheck.kit.pytest_checks import LayerCheck

    target = job.target
    try:
        checker = opened.enter_context(isolated.opened(job))
        return [LayerCheck(checker, check) for check in checker.checks]
    except ValueError as error:
        raise pytest.UsageError(f"{target}: {error}") from error


def _close(config: pytest.Config) -> None:
    if _OPENED in config.stash:
        config.stash[_OPENED].close()


class CheckItem(pytest.Item):
    """One check on one layer."""

    def __init__(self, *, layer_check: LayerCheck, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.layer_check = layer_check

    def runtest(self) -> None:
        try:
            self.layer_check()
        except ValueError as error:
            pytest.fail(str(error), pytrace=False)

    def repr_failure(self, excinfo: Any, style: Any = None) -> Any:
        if isinstance(excinfo.value, AssertionError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        return self.path, None, self.name
