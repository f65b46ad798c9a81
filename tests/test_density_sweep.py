"""Sweeps on a Dask cluster: what is finished is kept, what is lost is tried again."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from emcheck.flows.mixing import MIXINGS
from studies.density.cell import CONTROLS, Cell, live_parameters
from studies.density.plans import CORE, DATA, FAMILY, PLANS, SEEDS, plan_of
from studies.density.smoke import judge
from studies.density.sweep import run_cell, sweep
from studies.density.training import Training

# What the workers' processes close late is not this suite's.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

CELLS = [
    Cell("digits", "1x1", 1, seed, width=4, steps=2, warmup=1, logs=1, batch=4) for seed in range(3)
]


def _note(out: Path, word: str) -> int:
    """Leave a mark in a file; how many of them there are now."""
    with (out / word).open("a", encoding="utf-8") as file:
        file.write(".")
    return (out / word).stat().st_size


def dies_once(cell: Cell, checkpoint: Path, root: Path | None) -> dict[str, Any]:
    """The worker of the second cell is killed the first time."""
    out = checkpoint.parent.parent
    if _note(out, cell.name) == 1 and cell.seed == 1:
        os._exit(9)
    return {"cell": cell.to_json(), "diverged": "not trained"}


def fails(cell: Cell, checkpoint: Path, root: Path | None) -> dict[str, Any]:
    if cell.seed == 1:
        raise RuntimeError("no luck\nat all")
    if cell.seed == 7:
        raise MemoryError
    return {"cell": cell.to_json(), "diverged": "not trained"}


@pytest.mark.system
def test_a_dead_worker_costs_its_own_cell_only(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    lost = sweep(
        CELLS, tmp_path, told=lambda name, done, total: told.append((done, total)), run=dies_once
    )
    assert lost == []
    assert len(list((tmp_path / "cells").glob("*.json"))) == 3
    runs = {cell.seed: (tmp_path / cell.name).stat().st_size for cell in CELLS}
    assert runs[1] == 2
    assert told[0] == (0, 3)
    assert told[-1] == (3, 3)
    # Once more: nothing is trained again.
    assert sweep(CELLS, tmp_path, run=fails) == []
    assert {cell.seed: (tmp_path / cell.name).stat().st_size for cell in CELLS} == runs


@pytest.mark.system
def test_a_failing_cell_is_told_and_the_others_finish(tmp_path: Path) -> None:
    worse = replace(CELLS[0], seed=7)
    lost = sweep([*CELLS, worse], tmp_path, run=fails)
    assert sorted(lost) == [
        f"{CELLS[1].name}: RuntimeError: no luck at all",
        f"{worse.name}: MemoryError: MemoryError",
    ]
    kept = sorted(path.stem for path in (tmp_path / "cells").glob("*.json"))
    assert kept == sorted(cell.name for cell in CELLS if cell.seed != 1)
    with pytest.raises(ValueError, match=r"expected a cell with width = 5, got 4; choose another"):
        sweep([replace(cell, width=5) for cell in CELLS], tmp_path, run=fails)


def test_a_cell_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    """The record of a cell that was interrupted is that of one that was not."""
    cell = replace(CELLS[0], steps=6, logs=3)
    whole = run_cell(cell, tmp_path / "whole.pt", None)
    from studies.density.data import load

    half = Training(cell, load("digits"))
    half.log()
    for _ in range(2):
        half.step()
    half.log()
    half.save(tmp_path / "half.pt")
    again = run_cell(cell, tmp_path / "half.pt", None)
    for record in (whole, again):
        for row in record["rows"]:
            row.pop("seconds")
        for name in ("train_seconds", "sample_seconds"):
            record.pop(name)
    assert repr(whole) == repr(again)


def test_a_diverged_cell_is_a_result(tmp_path: Path) -> None:
    record = run_cell(replace(CELLS[0], rate=50.0, warmup=0, steps=300), tmp_path / "c.pt", None)
    assert "diverged at step" in record["diverged"]


@pytest.mark.system
def test_an_unreachable_scheduler_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a Dask scheduler, got"):
        sweep(CELLS, tmp_path, scheduler="tcp://127.0.0.1:1", run=fails)


def test_a_sweep_needs_a_worker(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected at least 1 worker, got 0"):
        sweep(CELLS, tmp_path, workers=0, run=fails)


def test_the_reference_plan_is_the_controlled_experiment() -> None:
    cells = plan_of("reference")
    assert len({cell.name for cell in cells}) == len(cells)
    core = [cell for cell in cells if cell.data in DATA and (cell.mixing, cell.control) in CORE]
    assert len(core) == len(CORE) * sum(SEEDS.values()) * len(DATA)
    assert min(SEEDS.values()) >= 5
    assert {cell.mixing for cell in (*cells, *plan_of("family"))} == set(MIXINGS)
    assert {cell.data for cell in cells} == {"galaxies", "photographs", "faces", "digits"}
    assert [cell.steps for cell in plan_of("smoke", 7)] == [7] * len(PLANS["smoke"]())
    with pytest.raises(ValueError, match="expected a plan among reference, budget, family, smoke"):
        plan_of("all")


def test_what_a_smoke_run_complains_of() -> None:
    cell = CELLS[0]
    good = {"rows": [{"valid": 5.0}, {"valid": 4.0}]}
    rival = replace(cell, mixing="1x1+emerging")
    assert judge({cell: good, rival: good}) == []
    (flat,) = judge({cell: {"rows": [{"valid": 5.0}, {"valid": 5.0}]}})
    assert "expected validation below 5.0000 bits/dim, got 5.0000" in flat
    (apart,) = judge({cell: good, rival: {"rows": [{"valid": 5.1}, {"valid": 4.0}]}})
    assert "expected one start for nested flows" in apart
    (lost,) = judge({cell: {"diverged": "diverged at step 3", "rows": []}})
    assert lost == f"{cell.name}: diverged at step 3"
    (nan,) = judge({cell: {"rows": [{"valid": 5.0}, {"valid": float("nan")}]}})
    assert "got nan" in nan


def test_the_plan_of_budgets_pairs_every_cell() -> None:
    """Budgets double, the smallest come first, and each flow of a seed has all of its rivals."""
    cells = plan_of("budget")
    assert len({cell.name for cell in cells}) == len(cells)
    sizes = [cell.budget for cell in cells]
    assert sizes == sorted(sizes)
    budgets = list(dict.fromkeys(sizes))
    assert [b // a for a, b in pairwise(budgets)] == [2, 2, 2]
    for budget in budgets:
        for data in ("galaxies", "photographs"):
            found = {
                (c.mixing, c.control, c.seed) for c in cells if (c.data, c.budget) == (data, budget)
            }
            flows = {(mixing, control) for mixing, control, _ in found}
            assert {("1x1", "time"), ("1x1+emerging", "")} <= flows <= set(CORE)
            assert found == {(*flow, seed) for flow in flows for seed in range(3)}
    assert all(cell.steps == cell.budget == 10 * cell.warmup for cell in cells)
    assert len(plan_of("budget", steps=20)) == len(CORE) * 2 * 3


def test_the_family_is_matched_to_the_emerging_flow_in_two_ways() -> None:
    cells = plan_of("family")
    assert len({cell.name for cell in cells}) == len(cells)
    assert {cell.budget for cell in cells} == {plan_of("budget")[0].budget}
    found = Counter((cell.mixing, cell.control) for cell in cells)
    wanted = [("1x1+emerging", ""), *((name, how) for name in FAMILY for how in CONTROLS if how)]
    assert found == dict.fromkeys(wanted, 2 * 3)
    shared = {cell.name: cell for cell in plan_of("budget")}
    for cell in cells:  # a training in both plans is one training
        assert shared.get(cell.name, cell) == cell


def test_a_mixing_with_more_parameters_gets_narrower_couplings() -> None:
    shape, cell = (3, 16, 16), Cell("galaxies", "periodic", control="parameters")
    rival = live_parameters(replace(cell, mixing="1x1+emerging", control="").build(shape))
    flow = cell.build(shape)
    assert flow.width < cell.width
    assert rival <= live_parameters(flow) < 1.05 * rival
