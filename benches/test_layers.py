"""Times of every registered layer, each after the check of its result."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benches import Cell, CheckFailed, Plan, Workbench, run_cell


def test_layer(cell: Cell, benchmark: BenchmarkFixture, workbench: Workbench, plan: Plan) -> None:
    refused = ""
    try:
        run_cell(cell, benchmark, workbench, plan.profile.budget)
    except CheckFailed as failure:
        refused = str(failure)
    except NotImplementedError as missing:
        if cell.setup.device == "cpu":
            raise
        pytest.skip(f"{cell.id}: not implemented on {cell.setup.device}: {missing}")
    if refused:  # outside the handler, or pytest would show a chain of two exceptions
        pytest.fail(refused, pytrace=False)
