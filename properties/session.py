"""Hypothesis profiles, a self-test before anything is judged, and results as JSON lines."""

from __future__ import annotations

import importlib
import os
import pkgutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, register_random, settings

import benches
import emcheck
import studies
from emcheck import diagnosis
from emcheck._internal.files import FileError, require_writable, write_file
from emcheck._internal.machine import cores, describe_machine, present_devices
from emcheck._internal.seal import sealed
from emcheck.doctor import diagnose, trusted
from emcheck.doctor.canary import Canary, read_canaries
from properties.journal import Journal
from properties.summary import Summary

#: The plugin of the two test folders.
NAME = "emcheck-session"

# Matrices here are small: one thread per process is fastest. The environment is for the
# processes that tests start, the call for this one, whose plugin has loaded torch already.
if "OMP_NUM_THREADS" not in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)

#: The two folders of tests; a whole run is one of them or both.
_FOLDERS = {Path(__file__).parent, Path(__file__).parent.parent / "tests"}

#: Markers of tests that a plain run leaves out.
LEFT_OUT = ("system", "exhaustive")

#: Under this name a worker of xdist is told what the canaries said.
_SAID = "emcheck_canaries"

#: Without these nothing can be judged: all oracles lean on them and on nothing else.
ORACLES = frozenset({"numpy", "scipy"})


# Triton reads this when it is imported. Without a GPU its kernels run in its interpreter.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

#: Modules that need what may not be installed.
_OPTIONAL = ("emcheck.adapters.", "emcheck.solve.triton_")


class _TorchRandom:
    """The global generator of torch, which this project does not use but others' layers may."""

    def seed(self, value: int) -> None:
        torch.manual_seed(value)

    def getstate(self) -> torch.Tensor:
        return torch.get_rng_state()

    def setstate(self, state: torch.Tensor) -> None:
        torch.set_rng_state(state)


# Hypothesis draws some numbers from constants in the source of loaded modules. What is drawn
# must not depend on which test ran before in the same process: load them all now.
for package in (emcheck, studies, benches):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith(("__main__", "conftest")):
            try:
                importlib.import_module(module.name)
            except ModuleNotFoundError as error:
                if not module.name.startswith(_OPTIONAL) or "emcheck" in str(error.name):
                    raise

#: A fault inside of an explanation is an error here; a user's report only logs it.
diagnosis.rank.STRICT = True

_torch_random = _TorchRandom()
register_random(_torch_random)

for name, examples in {"dev": 5, "ci": 10, "reference": 22, "deep": 300}.items():
    settings.register_profile(
        name,
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
settings.load_profile("ci")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("emcheck")
    group.addoption("--emcheck-results", type=Path, help="write results as JSON lines to this file")
    group.addoption("--emcheck-journal", type=Path, help="keep passed tests here, skip those kept")
    group.addoption(
        "--emcheck-self-test", type=Path, help="results of a self-test that has just run"
    )
    group.addoption(
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="where properties/test_checks.py has its layers",
    )
    group.addoption("--no-self-test", action="store_true", help="skip the self-test at the start")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """A whole run uses every core (``-n 0``: one); a selection starts faster in one process."""
    option = config.option
    selected = option.keyword or option.collectonly or option.usepdb
    selected = selected or config.getoption("emcheck_target", None)
    whole = {Path(argument).resolve() for argument in config.args} <= _FOLDERS
    chosen = option.numprocesses is not None or option.dist != "no"
    if whole and not selected and not chosen and not hasattr(config, "workerinput"):
        option.numprocesses, option.dist = cores(), "worksteal"
        option.tx = ["popen"] * option.numprocesses


def pytest_report_header(config: pytest.Config) -> str | None:
    """What a plain run leaves out, and how to run it."""
    if config.option.markexpr:
        return None
    return f"left out: tests marked {' or '.join(LEFT_OUT)} (pytest -m '{' or '.join(LEFT_OUT)}')"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked so, unless ``-m`` is given or a test is named by its id."""
    if config.option.markexpr:
        return
    named = [argument.partition("[")[0] for argument in config.args if "::" in argument]
    left = [
        item
        for item in items
        if any(item.get_closest_marker(mark) for mark in LEFT_OUT)
        and not any(item.nodeid.startswith(name) for name in named)
    ]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in set(left)]


def pytest_configure(config: pytest.Config) -> None:
    device = config.getoption("--device")
    if device not in present_devices():
        raise pytest.UsageError(f"--device: expected a device of this machine, got {device}")
    target = config.getoption("--emcheck-results")
    if target is not None:
        try:
            require_writable(target)
        except FileError as error:
            raise pytest.UsageError(f"--emcheck-results: {error}") from None
    config.stash[_SUMMARY] = Summary()
    config.stash[_STARTED] = time.monotonic()
    folder = config.getoption("--emcheck-journal")
    if folder is not None:
        journal = Journal(folder, leads=not hasattr(config, "workerinput"))
        config.pluginmanager.register(journal, Journal.NAME)


_SUMMARY = pytest.StashKey[Summary]()
_STARTED = pytest.StashKey[float]()
_CANARIES = pytest.StashKey[tuple[Canary, ...]]()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Canaries before the workers of a whole run start."""
    if session.config.option.numprocesses:
        _ask_canaries(session.config)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Canaries before a large selection in one process."""
    if len(session.items) >= 100 and not session.config.option.collectonly:
        _ask_canaries(session.config)


def _ask_canaries(config: pytest.Config) -> None:
    """No oracle may lean on linear algebra that does not tell the truth."""
    if config.getoption("--no-self-test") or hasattr(config, "workerinput"):
        return
    said = config.getoption("--emcheck-self-test")
    canaries = diagnose() if said is None else read_canaries(said)
    config.stash[_CANARIES] = canaries
    config.stash[_SUMMARY].records += [canary.to_record() for canary in canaries]
    missing = ORACLES - trusted(canaries)
    if missing:
        pytest.exit(
            f"the oracles rely on {sorted(missing)}, which failed the self-test", returncode=3
        )


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """What the canaries said, for the tests of a worker."""
    node.workerinput[_SAID] = [c.to_record() for c in node.config.stash.get(_CANARIES, ())]


@pytest.fixture(scope="session")
def healthy(pytestconfig: pytest.Config) -> tuple[Canary, ...]:
    """The canaries: what they said at the start, or, in a run that asked none, now."""
    records = getattr(pytestconfig, "workerinput", {}).get(_SAID, ())
    said = tuple(map(Canary.from_record, records)) or pytestconfig.stash.get(_CANARIES, ())
    return said or diagnose(timeout=120.0)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or report.failed:
        for key, value in report.user_properties:
            if key == "emcheck":
                _ACTIVE.add(value)


_ACTIVE = Summary()


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say how much ran and how close it came; write the JSON lines where they are wanted.

    A run that keeps a journal goes on after an interruption, and writes once it is whole.
    """
    summary = config.stash[_SUMMARY]
    summary.records += _ACTIVE.records
    seconds = time.monotonic() - config.stash[_STARTED]
    journal = config.pluginmanager.get_plugin(Journal.NAME)
    if journal is not None:
        summary.records += journal.records
        seconds += journal.seconds
    if not summary.checks:
        return
    terminalreporter.section("emcheck")
    for line in summary.lines():
        terminalreporter.write_line(line)
    target = config.getoption("--emcheck-results")
    if target is None or (journal is not None and not summary.is_whole):
        terminalreporter.write_line("results are not kept (--emcheck-results FILE)")
        return
    header = {
        "kind": "run",
        **describe_machine(),
        "profile": settings.get_current_profile_name(),
        "seed": 0,
        "date": time.strftime("%Y-%m-%d"),
        "workers": config.option.numprocesses or 1,
        "seconds": round(seconds, 1),
        "examples": summary.examples,
        "checks": len(summary.checks),
    }
    _write_lines(target, [header, *summary.ordered])
    terminalreporter.write_line(f"results: {target.name}")


def _write_lines(path: Path, records: list[dict[str, Any]]) -> None:
    write_file(path, "".join(map(sealed, records)).encode())


@pytest.fixture
def heard() -> Iterator[None]:
    """Ctrl-C is heard, also by processes that are started, where this session ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def _same_start() -> None:
    """Every test sees the same state of torch's global generator."""
    torch.manual_seed(0)
