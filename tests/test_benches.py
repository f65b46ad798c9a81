"""The benchmarks cover what the registry holds, and time nothing that is wrong."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
import pytest
import torch
from torch import Tensor

from benches import PROFILES, CheckFailed, Workbench, make_plan, run_cell
from benches.cells import (
    BATCHES,
    DTYPES,
    OPERATIONS,
    PYRAMID,
    Cell,
    Setup,
    all_cells,
    variants,
)
from benches.timing import Budget
from emcheck.flows.mixing import MIXINGS
from emcheck.layers import AutoregressiveConv2d, Conv1x1
from emcheck.layers.compiled_kinds import compiled_kinds
from emcheck.solve import live_weight
from emcheck.solve.choose import HAS_NUMBA, Solver
from emcheck.specs import REGISTRY
from studies.contests.baselines import dense_triangular, jacobi, paper, row_by_row
from studies.contests.contest import compete
from studies.contests.flows import kept_for_backward
from studies.contests.layers import masked
from studies.contests.report import BARS, CACHE_ON_DISK, EMPTY_CACHE, KEYS
from studies.contests.run import every_contest, run_contests

SIDES = {side for _, side in PYRAMID}
QUICK = make_plan(PROFILES["quick"], ("cpu",), {"cpu": None})


class Dummy(Conv1x1):
    """A layer that nobody has registered yet."""


class Wrong(Conv1x1):
    """An inverse that is slightly off."""

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x, logdet = super().inverse(z)
        return x * 1.001, logdet


class _Recorder:
    """Stands in for pytest-benchmark's fixture."""

    def __init__(self) -> None:
        self.extra_info: dict[str, Any] = {}
        self.timed = 0

    def pedantic(self, target: Callable[[], Any], *, rounds: int, iterations: int) -> Any:
        self.timed += rounds * iterations
        return target()


@pytest.mark.parametrize("name", REGISTRY)
def test_quick_profile_holds_every_operation_and_size(name: str) -> None:
    mine = [cell for cell in QUICK.cells if cell.setup.variant.name == name]
    covered = {(cell.operation, cell.setup.event[1]) for cell in mine}
    assert covered >= {(operation, side) for operation in OPERATIONS for side in SIDES}
    assert {cell.setup.batch for cell in mine} == set(BATCHES)
    assert {cell.setup.dtype for cell in mine} == set(DTYPES)


def test_ids_are_unique_and_nothing_is_left_out_silently() -> None:
    every = list(all_cells(("cpu",)))
    assert len({cell.id for cell in every}) == len(every)
    assert len(QUICK.cells) + sum(QUICK.left_out.values()) == len(every)
    full = make_plan(PROFILES["full"], ("cpu",), {"cpu": 2**40})
    assert {cell.id for cell in QUICK.cells} <= {cell.id for cell in full.cells}


def test_a_new_layer_needs_no_edit() -> None:
    plan = make_plan(PROFILES["quick"], ("cpu",), {"cpu": None}, {"Dummy": Dummy})
    assert {cell.setup.event[1] for cell in plan.cells} >= SIDES


def _cell(layer: type[Conv1x1], operation: str) -> Cell:
    (variant,) = variants({layer.__name__: layer})
    return Cell(Setup(variant, "fixed", (3, 4, 4), 2, "float32", "cpu"), operation)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_time_stands_beside_its_error(operation: str) -> None:
    recorder = _Recorder()
    cell = _cell(Dummy, operation)
    run_cell(cell, recorder, Workbench(), Budget(seconds=0.01, rounds=2, limit=0.1))
    assert recorder.timed
    assert 0 <= recorder.extra_info["error_ratio"] <= recorder.extra_info["error_threshold"]


def test_a_wrong_layer_is_not_timed() -> None:
    recorder, workbench = _Recorder(), Workbench()
    cell = _cell(Dummy, "inverse")
    workbench.subject(cell.setup).layer.__class__ = Wrong
    with pytest.raises(CheckFailed, match="not timed"):
        run_cell(cell, recorder, workbench, Budget(seconds=0.01, rounds=2, limit=0.1))
    assert not recorder.timed
    assert not recorder.extra_info


def _run(target: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """``pytest benches`` of one quick cell in a process of its own."""
    chosen = ["benches", f"--benchmark-json={target}", "-k", "Squeeze2d-forward-fixed-12x4x4"]
    command = [sys.executable, "-m", "pytest", *chosen, "-q", *words]
    inherited = {key: value for key, value in os.environ.items() if "XDIST" not in key}
    env = inherited | environment
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)


def test_command_writes_a_whole_file_that_names_no_machine(tmp_path: Path) -> None:
    target = tmp_path / "times.json"
    done = _run(target)
    assert done.returncode == 0, done.stdout
    assert "written to" in done.stdout
    content = json.loads(target.read_text(encoding="utf-8"))
    assert content["benchmarks"][0]["extra_info"]["layer"] == "Squeeze2d"
    assert content["machine_info"]["emcheck"]["threads"] == torch.get_num_threads()
    assert "node" not in content["machine_info"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_check_is_one_line_and_keeps_the_last_file(tmp_path: Path) -> None:
    """No result passes at a threshold below zero."""
    target = tmp_path / "times.json"
    target.write_text("the last file")
    (tmp_path / "nothing_passes.py").write_text(
        "from emcheck.bounds import THRESHOLDS\nTHRESHOLDS['EXACT'] = -1.0\n"
    )
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    done = _run(target, "-p", "nothing_passes", PYTHONPATH=path)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "expected error over bound <= -1 (EXACT), got 0; not timed" in done.stdout
    assert "1 failed, 0 skipped" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert target.read_text() == "the last file"


@pytest.mark.parametrize("solve", [dense_triangular, row_by_row, jacobi, paper])
@pytest.mark.parametrize(("kernel_size", "dilation"), [(1, 1), (3, 1), (3, 2), (5, 1)])
def test_baselines_solve_the_same_system(solve: Solver, kernel_size: int, dilation: int) -> None:
    layer = AutoregressiveConv2d(
        3, kernel_size, dilation=dilation, generator=torch.Generator().manual_seed(0)
    ).double()
    x = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        z, _ = layer(x)
        found = solve(live_weight(layer.weight, layer.link), z, "square", False, dilation)
    assert torch.allclose(found, x, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="expected a square mask"):
        solve(layer.weight, z, "raster", False, dilation)


def test_contest_times_every_competitor() -> None:
    contest = masked(1, 2, 4)
    rows = {row["competitor"]: row for row in compete(contest, 0.01)}
    assert set(rows) == set(contest.calls) >= {"layer inverse", "tiles", "scalar", "jacobi"}
    for row in rows.values():
        assert row["seconds"] > 0
        assert row["first"] > 0
        assert row["event"] == "2x4x4"


def test_every_bar_is_measured_by_some_contest() -> None:
    """A contest that is renamed would leave its bar without a number."""
    found = {
        (contest.name, contest.batch, "x".join(map(str, contest.event)), name)
        for contest in every_contest(large=32)
        for name in contest.calls
    }
    times = pd.Series(1.0, index=pd.MultiIndex.from_tuples(sorted(found), names=KEYS))
    for bar in BARS:
        sides = {int(part) for part in re.findall(r"(?<=x)\d+", bar.size)}
        if max(sides) <= 32:
            assert not math.isnan(bar.measure(times)), (bar.what, bar.size)


def test_first_calls_belong_to_a_thread_count_that_was_measured(tmp_path: Path) -> None:
    """Else the report would show every bar of a thread count that nobody asked for."""
    seen = []

    def output(module: str, environment: dict[str, str]) -> list[dict[str, object]]:
        seen.append((module, environment["OMP_NUM_THREADS"]))
        return [{"contest": "x"}] if module.endswith("compare") else [{"competitor": "y"}]

    with pytest.raises(ValueError, match="expected a device of this machine, got tpu"):
        run_contests(tmp_path / "out.jsonl", 1, [1], device="tpu")
    told: list[tuple[int, int]] = []
    with patch("studies.contests.run._output", output):
        run_contests(tmp_path / "out.jsonl", 1, [2, 3], lambda *step: told.append(step))
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert {row["threads"] for row in rows[1:]} == {2, 3}
    assert [row["contest"] for row in rows[3:]] == [EMPTY_CACHE, CACHE_ON_DISK]
    assert [threads for module, threads in seen if module.endswith("first_calls")] == ["2", "2"]
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


_COMPILED = """
import torch
from numba.core import event
from emcheck.layers.compiled_kinds import compiled_kinds
listener = event.RecordingListener()
event.register("numba:compile", listener)
for dtype in (torch.float32, torch.float64):
    for kind in compiled_kinds(dtype):
        kind.call()
print(len(listener.buffer))
"""


@pytest.mark.system
@pytest.mark.skipif(not HAS_NUMBA, reason="compiled code needs Numba")
def test_after_warm_up_no_call_compiles(tmp_path: Path) -> None:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "emcheck", "warm-up"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == sum(
        len(list(compiled_kinds(dtype))) for dtype in (torch.float32, torch.float64)
    )
    again = [sys.executable, "-c", _COMPILED]
    counted = subprocess.run(again, env=environment, capture_output=True, text=True, check=True)
    assert counted.stdout.strip() == "0"


def test_what_a_flow_keeps_is_counted_and_the_same_every_time() -> None:
    kept = kept_for_backward()
    assert set(MIXINGS) <= set(kept)
    assert kept["shuffled"] == kept["reversed"] < kept["1x1"] < kept["1x1+emerging"]
    assert kept_for_backward() == kept
