"""pytest benches: the cells of a profile, the file they are written to, the closing summary."""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from benches import PROFILES, Plan, Workbench, make_plan
from benches.record import complete, part_of, slim_benchmark, slim_machine
from benches.timing import clock, free_memory
from emcheck._internal.files import FileError, require_writable
from emcheck._internal.machine import describe_machine, present_devices

PLAN = pytest.StashKey[Plan]()
STARTED = pytest.StashKey[float]()
#: The value of ``--benchmark-json``.
ASKED = pytest.StashKey["Path | None"]()
#: The file to write, and the outcome in words.
TARGET = pytest.StashKey["Path | None"]()
OUTCOME = pytest.StashKey[str]()
WORKBENCH = pytest.StashKey[Workbench]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("benchmark").addoption(
        "--bench-profile",
        choices=list(PROFILES),
        default="quick",
        help="quick: every layer, operation and size once, minutes; full: every cell",
    )


def pytest_configure(config: pytest.Config) -> None:
    processes = config.getoption("numprocesses", None)
    if processes:
        raise pytest.UsageError(
            f"pytest benches: expected one process, got -n {processes}: "
            "benchmarks that run side by side measure each other; leave -n out"
        )
    devices = present_devices()
    profile = PROFILES[config.getoption("--bench-profile", "quick")]
    config.stash[PLAN] = make_plan(profile, devices, {d: free_memory(d) for d in devices})
    config.stash[STARTED] = time.monotonic()
    config.stash[WORKBENCH] = Workbench()
    config.stash[TARGET], config.stash[OUTCOME] = None, "no benchmark ran, nothing was written"
    # A cell whose check fails is not timed, and says so itself.
    config.addinivalue_line("filterwarnings", "ignore:Benchmark fixture was not used at all")
    config.stash[ASKED] = config.getoption("benchmark_json")
    config.option.benchmark_json = None  # see pytest_runtestloop


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "cell" not in metafunc.fixturenames:
        return
    cells = [
        pytest.param(cell, id=cell.id, marks=pytest.mark.benchmark(timer=clock(cell.setup.device)))
        for cell in metafunc.config.stash[PLAN].cells
    ]
    metafunc.parametrize("cell", cells)


@pytest.fixture
def plan(request: pytest.FixtureRequest) -> Plan:
    """The cells of this run and the budget of each."""
    return request.config.stash[PLAN]


@pytest.fixture
def workbench(request: pytest.FixtureRequest) -> Workbench:
    """The one place that builds layers, so that the operations of a cell share them."""
    return request.config.stash[WORKBENCH]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Choose the file, and refuse one that cannot be written before anything is timed."""
    config = session.config
    benchmarks = config.pluginmanager.get_plugin("pytest-benchmark")
    benchmarks.quiet = not benchmarks.verbose
    asked = config.stash[ASKED]
    if asked is None:
        config.stash[OUTCOME] = "times are not kept (--benchmark-json FILE)"
        return
    target = Path(asked)
    try:
        require_writable(target)
    except FileError as error:
        raise pytest.UsageError(f"--benchmark-json: {error}") from None
    config.stash[TARGET] = target


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Have pytest-benchmark write a part of its own, once there is something to write.

    An interrupted run thus leaves the last file as it was, and an empty one gives no warning.
    """
    try:
        return (yield)
    finally:
        benchmarks = session.config.pluginmanager.get_plugin("pytest-benchmark")
        target = session.config.stash[TARGET]
        benchmarks.json = part_of(target) if target and benchmarks.benchmarks else None


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Take the part that pytest-benchmark has just written, if the run was complete.

    pytest-benchmark writes before ordinary hooks run, and the terminal summary comes after them.
    """
    target = session.config.stash[TARGET]
    if target is None:
        return
    stopped = exitstatus in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR)
    shown = _shown(target, session.config)
    if stopped or not part_of(target).exists():
        part_of(target).unlink(missing_ok=True)
        reason = "interrupted" if stopped else "no benchmark ran"
        session.config.stash[OUTCOME] = f"{reason}: {shown} unchanged"
        return
    complete(target)
    session.config.stash[OUTCOME] = f"written to {shown}"


def _shown(path: Path, config: pytest.Config) -> str:
    """Return the path relative to the project if it lies inside."""
    try:
        return str(path.relative_to(config.rootpath))
    except ValueError:
        return str(path)


def pytest_benchmark_update_machine_info(
    config: pytest.Config, machine_info: dict[str, Any]
) -> None:
    profile, seed = config.stash[PLAN].profile.name, config.stash[WORKBENCH].seed
    machine_info["emcheck"] = describe_machine() | {"profile": profile, "seed": seed}
    slim_machine(machine_info)


def pytest_benchmark_update_commit_info(config: pytest.Config, commit_info: dict[str, Any]) -> None:
    commit_info.clear()  # the commit is in the machine info; this one names the folder


def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    output_json["benchmarks"] = [slim_benchmark(row) for row in output_json["benchmarks"]]
    machine = output_json["machine_info"]["emcheck"]
    machine["left_out"] = dict(config.stash[PLAN].left_out)
    machine["seconds"] = round(time.monotonic() - config.stash[STARTED], 1)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    plan, counts = config.stash[PLAN], terminalreporter.stats
    seconds = time.monotonic() - config.stash[STARTED]
    done = {name: len(counts.get(name, [])) for name in ("passed", "failed", "skipped")}
    terminalreporter.section("emcheck benches")
    write = terminalreporter.write_line
    write(
        f"profile {plan.profile.name}: {len(plan.cells)} cells, {done['passed']} checked and "
        f"timed, {done['failed']} failed, {done['skipped']} skipped, in {seconds:.0f} s"
    )
    for reason, count in sorted(plan.left_out.items()):
        write(f"left out: {count} cells, {reason}")
    absent = describe_machine()["absent_devices"]
    write("devices: " + ", ".join([*present_devices(), *(f"no {d}" for d in absent)]))
    write(config.stash[OUTCOME])
