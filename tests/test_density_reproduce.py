"""Kept trainings, begun again: the present code gives the same bits, or says which differ."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from studies.density.cell import Cell
from studies.density.folders import DECAYING_RATE, REPRODUCED
from studies.density.report.load import read_density
from studies.density.reproduce import ALIKE, MAGNIFIED, begin_again, most, reproduce
from studies.density.sweep import run_cell
from studies.pages.load import Properties
from studies.report.origins import origins

CELL = Cell("digits", "1x1", 1, 0, width=4, steps=6, warmup=1, logs=3, batch=4)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_cell(CELL, tmp_path_factory.mktemp("cell") / "cell.pt", None)


def test_the_same_code_gives_the_same_bits(kept: dict[str, Any]) -> None:
    assert begin_again(CELL, kept["rows"]) == {"step": 2, "same": True, "difference": 0.0}


@pytest.mark.parametrize("key", ["train", "valid"])
@pytest.mark.parametrize("row", [0, 1])
def test_one_other_bit_is_seen(kept: dict[str, Any], row: int, key: str) -> None:
    rows = [dict(one) for one in kept["rows"]]
    value = rows[row][key]
    rows[row][key] = 0.0 if math.isnan(value) else math.nextafter(value, math.inf)
    found = begin_again(CELL, rows)
    assert not found["same"]
    wanted = math.inf if math.isnan(value) else rows[row][key] - value
    assert found["difference"] == wanted


def test_another_training_is_seen(kept: dict[str, Any]) -> None:
    assert begin_again(replace(CELL, rate=CELL.rate * 1.01), kept["rows"])["difference"] > ALIKE


def test_a_twin_of_other_roundings_tells_what_a_rounding_does(kept: dict[str, Any]) -> None:
    rows = [dict(one) for one in kept["rows"]]
    rows[1]["valid"] += 0.01
    found = begin_again(CELL, rows)
    assert found["difference"] == pytest.approx(0.01)
    assert 0 < found["rounding"] < ALIKE
    assert most(found) == max(ALIKE, MAGNIFIED * found["rounding"]) < 0.01
    assert most({"rounding": 0.02}) == pytest.approx(0.32)


def test_a_training_that_diverged_before_its_first_log_is_compared_at_its_start(
    tmp_path: Path,
) -> None:
    cell = replace(CELL, rate=50.0, warmup=0, steps=300, logs=1)
    record = run_cell(cell, tmp_path / "cell.pt", None)
    assert len(record["rows"]) == 1
    assert begin_again(cell, record["rows"])["same"]


@pytest.mark.system
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_folder_is_begun_again_and_what_differs_is_named(
    tmp_path: Path, kept: dict[str, Any]
) -> None:
    wrong = json.loads(json.dumps(kept))
    wrong["rows"][1]["valid"] += 1e-3
    rounded = json.loads(json.dumps(kept))
    rounded["rows"][1]["valid"] += 1e-6
    failing = kept | {"cell": kept["cell"] | {"mixing": "none"}}
    (tmp_path / "cells").mkdir()
    cells = {"right": kept, "wrong": wrong, "rounded": rounded, "failing": failing}
    for name, record in cells.items():
        (tmp_path / "cells" / f"{name}.json").write_text(json.dumps(record), encoding="utf-8")
    told: list[tuple[int, int]] = []
    lost = reproduce(tmp_path, progress=lambda done, total: told.append((done, total)))
    assert [line.split(":")[0] for line in lost] == ["failing", "wrong"]
    assert lost[1] == "wrong: expected at most 5e-05, got 0.001 bits/dim within 2 steps"
    assert told[-1] == (4, 4)
    content = json.loads((tmp_path / REPRODUCED).read_text(encoding="utf-8"))
    assert {name: cell["same"] for name, cell in content["cells"].items()} == {
        "right": True,
        "rounded": False,
        "wrong": False,
    }


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"cell": {}}'])
def test_a_broken_training_is_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match="expected trainings of a sweep in cells/, got none"):
        reproduce(tmp_path)
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / "one.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"one.json: expected a kept training, got"):
        reproduce(tmp_path)


def test_the_report_says_at_which_commit_they_were_trained_and_begun_again() -> None:
    sweep = read_density(DECAYING_RATE)
    machine = sweep.machine | {"commit": "abc"}
    cells = {
        "equal": {"same": True, "difference": 0.0},
        "near": {"same": False, "difference": 3e-6},
        "magnified": {"same": False, "difference": 0.1, "rounding": 0.02},
        "other": {"same": False, "difference": 0.1, "rounding": 1e-6},
    }
    sweep = replace(sweep, reproduced={"machine": machine, "cells": cells})
    *trained, again = origins([], Properties(), None, None, [], {"budget": sweep})
    assert sum(int(row["about"].split()[0]) for row in trained) == len(sweep.machines)
    commits = [commit for row in trained for commit in row["commit"].split()]
    assert set(commits) == {machine["commit"] for machine in sweep.machines}
    assert again["commit"] == "abc"
    assert again["about"] == (
        "begun again: 1 of 4 with equal bits, 1 within 3.0e-06 bits/dim, "
        "1 within 16 times what one rounding of the weights does, 1 otherwise"
    )
