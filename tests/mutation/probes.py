"""Who has to notice a mutant: seeded faults with their twins, and the fast unit tests.

Nothing of emcheck may be imported before a mutant is: this module imports it in functions only,
and those run in forks.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import pytest

from tests.mutation.mutants import ROOT, Mutant, modules, path_of

#: Where bounds are worked out by hand.
TESTS_OF_BOUNDS = (
    *("properties/test_bounds.py", "properties/test_rules.py", "tests/test_diagnosis_bounds.py"),
)

#: Fast files, and what is left out of them: the faults, which are here already, whole
#: reports, and processes of their own, which run the modules as they are.
UNIT_TESTS = (
    *TESTS_OF_BOUNDS,
    *("tests/test_checks_core.py", "tests/test_judgements_contract.py"),
    *("tests/test_judgements_values.py", "tests/test_judgements_state.py"),
    *("properties/test_oracle.py", "properties/test_lanczos.py", "properties/test_faults.py"),
    *("tests/test_kit.py",),
)
LEFT_OUT = (
    *("properties/test_faults.py::test_killed", "tests/test_kit.py::test_correct_layers_are_ok"),
    *("tests/test_kit.py::test_check_command_says_ok_and_writes_json",),
    *("tests/test_kit.py::test_check_command_fails_with_one",),
    *("tests/test_kit.py::test_list_names_every_layer",),
    *("tests/test_kit.py::test_importing_touches_no",),
)

#: Others' libraries, loaded once so that forks have them.
PRELOADED = (
    *("torch", "torch._dynamo", "numpy", "scipy.linalg", "scipy.stats", "numba", "mpmath"),
    *("pandas", "matplotlib.figure", "matplotlib.backends.backend_svg", "typer", "rich.table"),
    *("skimage.data", "hypothesis", "platformdirs", "pytest_benchmark.plugin", "xdist.plugin"),
)


@dataclass(frozen=True)
class Probe:
    """A fault (its name) or a unit test (its node id): what it costs and which lines it runs."""

    name: str
    seconds: float
    lines: frozenset[tuple[str, int]] = field(repr=False)

    @property
    def is_fault(self) -> bool:
        return "::" not in self.name

    def reaches(self, mutant: Mutant) -> bool:
        """Whether it runs the changed statement; what is run on import reaches everybody."""
        if mutant.place.on_import:
            return True
        return any((mutant.module, line) in self.lines for line in mutant.lines)


def preload() -> None:
    """Import others' libraries, so that forks find them in memory; one thread for each."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for name in PRELOADED:
        importlib.import_module(name)
    gc.freeze()  # what is loaded here is not looked through by the collectors of forks
    assert not any(name.split(".")[0] == "emcheck" for name in sys.modules)


# --- one probe ---------------------------------------------------------------------------------


def fault_names() -> list[str]:
    from emcheck.faults import FAULTS

    return list(FAULTS)


def judge_fault(name: str) -> str:
    """An empty string where the named check kills the fault and passes its twin."""
    from emcheck.faults import FAULTS, run_fault
    from emcheck.result import Verdict

    fault = FAULTS[name]
    (row,) = run_fault(fault, 0, [fault.check])
    if not row.kills:
        return f"{name} survives"
    return "" if row.twin_verdict is Verdict.PASS else f"{fault.twin.__name__} is flagged"


class _Watch:
    """A pytest plugin: which test failed first, how long each took and which lines it ran."""

    def __init__(self, watch: Callable[[], Lines] | None) -> None:
        self.failed = ""
        self.passed: list[Probe] = []
        self._watch = watch

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        started = time.perf_counter()
        if self._watch is None:
            return (yield)
        with self._watch() as lines:
            result = yield
        seconds = time.perf_counter() - started
        self.passed.append(Probe(item.nodeid, seconds, lines.seen))
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self.failed:
            self.failed = f"collecting {report.nodeid}"


def run_tests(names: Sequence[str], watch: Callable[[], Lines] | None = None) -> _Watch:
    """Files or node ids under pytest, up to the first failure."""
    os.chdir(ROOT)
    plugin = _Watch(watch)
    left_out = [f"--deselect={name}" for name in LEFT_OUT]
    options = ["-x", "-q", "-n0", "-p", "no:cacheprovider", "--no-self-test", *left_out]
    # Plugins that are loaded already cannot have their asserts rewritten, and need not.
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    code = pytest.main([*options, *names], plugins=[plugin])
    if code != pytest.ExitCode.OK and not plugin.failed:
        plugin.failed = f"pytest: {pytest.ExitCode(code).name}"
    return plugin


# --- the baseline ------------------------------------------------------------------------------


class Lines:
    """Which lines of the mutated modules are run while it is entered."""

    def __init__(self) -> None:
        self._files = {str(path_of(module)): module for module in modules()}
        self._seen: set[tuple[str, int]] = set()

    @property
    def seen(self) -> frozenset[tuple[str, int]]:
        return frozenset(self._seen)

    def __enter__(self) -> Lines:
        sys.settrace(self._on_call)
        threading.settrace(self._on_call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]

    def _on_call(self, frame: FrameType, event: str, arg: Any) -> Any:
        module = self._files.get(frame.f_code.co_filename)
        if module is None:
            return None
        self._seen.add((module, frame.f_lineno))

        def on_line(frame: FrameType, event: str, arg: Any) -> Any:
            self._seen.add((module, frame.f_lineno))
            return on_line

        return on_line


def baseline() -> tuple[list[Probe], str]:
    """Every probe on the modules as they are, and the complaint of the first that fails."""
    sys.path.insert(0, str(ROOT))
    found = []
    for name in fault_names():
        judge_fault(name)  # compiled code is loaded, so that the second call is timed
        started = time.perf_counter()
        with Lines() as lines:
            complaint = judge_fault(name)
        found.append(Probe(name, time.perf_counter() - started, lines.seen))
        if complaint:
            return found, complaint
    ran = run_tests([name for name in UNIT_TESTS if (ROOT / name).exists()], Lines)
    return [*found, *ran.passed], ran.failed
