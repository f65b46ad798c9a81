"""The verdict follows from the intervals, and the page from the cells."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from studies.density.cell import RIVAL, Cell
from studies.density.plans import CORE, PLANNED_SEEDS
from studies.density.report import write_density
from studies.density.report.differences import CONTROLS, differences, later_seeds, verdict
from studies.density.report.load import Density, read_density
from studies.density.report.page import page
from studies.density.sweep import run_cell
from studies.pages.errors import ReportError

#: Differences of five seeds, emerging minus control.
BETTER = (-0.020, -0.024, -0.018, -0.022, -0.021)
WORSE = (0.020, 0.024, 0.018, 0.022, 0.021)
MIXED = (-0.020, 0.024, -0.018, 0.012, 0.001)
#: The bootstrap of five values never leaves their range, Student's t does.
ONE_SIDED = (-0.001, -0.002, -0.09, -0.08, -0.001)


def cells(gaps: dict[str, tuple[float, ...]], gained: float = 0.0) -> Density:
    rows = [
        {"data": "galaxies", "depth": 4, "budget": 0, "variant": variant, "seed": seed,
         "diverged": "", "test": 4.0 + 0.1 * seed - gap, "steps": 1200, "last_quarter": gained}
        for variant, values in {RIVAL: (0.0,) * 5, **gaps}.items()
        for seed, gap in enumerate(values)
    ]  # fmt: skip
    none = pd.DataFrame()
    return Density(pd.DataFrame(rows), none, none, none, none, {}, {})


@pytest.mark.parametrize(
    ("values", "word"),
    [(BETTER, "better"), (WORSE, "worse"), (MIXED, "undecided"), (ONE_SIDED, "undecided"),
     ((-0.02,), "one seed"), ((-0.02, -0.03), "too few seeds")],
)  # fmt: skip
def test_verdicts_follow_from_both_intervals(values: tuple[float, ...], word: str) -> None:
    gaps = differences(cells({"1x1": values}))
    (row,) = gaps.to_dict("records")
    assert row["verdict"] == word
    assert row["difference"] == pytest.approx(np.mean(values))
    assert row["seeds"] == len(values)
    if len(values) == 5:
        assert row["low"] <= row["difference"] <= row["high"]
        assert min(values) <= row["low"]
        assert row["high"] <= max(values)
        assert row["t_low"] < row["low"]
        assert row["high"] < row["t_high"]


def test_a_pair_needs_both_of_its_seeds() -> None:
    density = cells({"1x1": BETTER})
    lost = (density.cells["variant"] == RIVAL) & (density.cells["seed"] == 3)
    shorter = replace(density, cells=density.cells[~lost])
    assert differences(shorter)["seeds"].tolist() == [4]


def test_the_sentence_says_what_the_intervals_say() -> None:
    told = verdict(differences(cells(dict(zip(CONTROLS, (BETTER, MIXED, WORSE), strict=True)))))
    assert told.count(". ") == 1
    first, second = told.split(". ")
    assert "is better in 1 of 1 comparisons (0.021 bits/dim)" in first
    assert "worse in 1 of 2" in second
    assert "not told apart in 1 of 2" in second
    assert "better" not in second


def test_the_sentence_says_that_training_has_not_flattened() -> None:
    gaps = dict.fromkeys(CONTROLS, BETTER)
    assert "flattened" not in verdict(differences(cells(gaps)))
    told = verdict(differences(cells(gaps, 0.05)))
    assert told.startswith("After 1,200 steps at equal depth and width the emerging flow is better")
    assert "had not flattened (validation still gained 0.050 bits/dim" in told
    assert told.count(". ") == 1


def test_seeds_that_were_added_later_speak_for_themselves() -> None:
    density = cells(dict.fromkeys(CONTROLS, BETTER))
    assert later_seeds(density) == ""
    moved = density.cells.assign(seed=density.cells["seed"] + PLANNED_SEEDS - 1)
    told = later_seeds(replace(density, cells=moved))
    assert told.endswith("flow is better in 3 of 3 comparisons (0.021 to 0.021 bits/dim).")


def test_a_diverged_seed_drops_its_pair_and_is_counted() -> None:
    density = cells({"1x1": BETTER})
    lost = (density.cells["variant"] == RIVAL) & (density.cells["seed"] == 3)
    frame = density.cells.copy()
    frame.loc[lost, "diverged"] = "at step 3"
    (row,) = differences(replace(density, cells=frame)).to_dict("records")
    assert (row["seeds"], row["dropped"]) == (4, 1)


def test_the_sentence_counts_what_has_too_few_seeds() -> None:
    gaps = {"1x1": BETTER, "1x1, matched time": BETTER, "1x1, matched parameters": (-1.0,)}
    told = verdict(differences(cells(gaps)))
    assert told.endswith("; 1 further comparisons have too few seeds to say.")


def test_too_few_seeds_decide_nothing() -> None:
    assert verdict(differences(cells({"1x1": (-1.0,)}))).startswith("Not decided")
    assert verdict(pd.DataFrame()).startswith("Not decided")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real cells of a tenth of a second each, a diverged one, and a made-up baseline."""
    root = tmp_path_factory.mktemp("sweep")
    (root / "cells").mkdir()
    (root / "baselines").mkdir()
    small = Cell("digits", "1x1", 1, width=4, steps=8, warmup=2, logs=4, batch=8)
    for seed in (0, 1, 2):
        for mixing, control in CORE:
            cell = replace(small, mixing=mixing, control=control, seed=seed)
            record = run_cell(cell, root / f"{cell.name}.pt", None)
            (root / "cells" / f"{cell.name}.json").write_text(json.dumps(record))
    wild = replace(small, mixing="qr", rate=50.0, warmup=0, steps=300)
    record = run_cell(wild, root / "wild.pt", None)
    (root / "cells" / "wild.json").write_text(json.dumps(record))
    base = {"gaussian": 2.0, "png_each": 9.0, "png_sheet": 4.0, "uniform": 4.087}
    base["about"] = "made-up digits"  # type: ignore[assignment]
    (root / "baselines" / "digits.json").write_text(json.dumps(base))
    (root / "step_ratios.json").write_text(
        json.dumps({"digits, depth 1": {"ratio": 1.25, "low": 1.2, "high": 1.3}})
    )
    return root


def test_the_page_of_real_cells(folder: Path, tmp_path: Path) -> None:
    page = write_density(folder, tmp_path)
    text = page.read_text(encoding="utf-8")
    assert text.splitlines()[2].startswith("**After 8 steps at equal depth and width the")
    assert "the same number in 3 of 3 pairs" in text
    assert "**1 training diverged:** digits qr: diverged at step" in text
    assert "12 of 12 trainings (`1x1`, `1x1+emerging`, `1x1, matched parameters`" in text
    assert "lose to Gaussian, full covariance (2.0000). In the last quarter of their steps" in text
    assert "digits, depth 1: 1.250 (middle half 1.200 to 1.300)" in text
    assert "Images: made-up digits." in text
    assert "| paper | galaxy, D = 8 | 2.03 ± .026 | 1.98 ± .007 | 1.98 ± .003 |" in text
    assert "nan" not in text.lower()
    for name in ("curves", "differences", "conditions", "samples_digits"):
        assert f"figures/density_{name}.svg" in text
        assert (tmp_path / "figures" / f"density_{name}.svg").stat().st_size > 1000
    for name in ("cells", "curves", "conditions", "baselines", "differences", "step_ratios"):
        assert len(pd.read_csv(tmp_path / "tables" / f"density_{name}.csv"))
    files = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    write_density(folder, tmp_path)
    assert files == {path: path.read_bytes() for path in tmp_path.rglob("*.*")}


def test_cells_are_read_as_they_were_written(folder: Path) -> None:
    density = read_density(folder)
    assert len(density.cells) == 13
    row = density.cells[density.cells["variant"] == RIVAL].iloc[0]
    record = json.loads((folder / "cells" / f"digits-depth1-{RIVAL}-seed0.json").read_text())
    assert row["test"] == record["test"]
    assert row["condition"] == max(record["rows"][-1]["conditions"])
    assert row["last_quarter"] == record["rows"][-2]["valid"] - record["rows"][-1]["valid"]


def test_without_baselines_nothing_is_said_of_beating_them(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "cells", tmp_path / "cells")
    text = write_density(tmp_path, tmp_path / "out").read_text(encoding="utf-8")
    assert "The Gaussian and PNG were not measured on digits." in text
    assert "beats" not in text


def test_only_diverged_cells_and_other_json_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cells").mkdir()
    shutil.copy(folder / "cells" / "wild.json", tmp_path / "cells")
    with pytest.raises(ReportError, match="expected finished cells"):
        write_density(tmp_path, tmp_path / "out")
    (tmp_path / "cells" / "a.json").write_text("{}")
    with pytest.raises(ReportError, match=r"a\.json: expected a cell of a sweep, got other JSON"):
        write_density(tmp_path, tmp_path / "out")


def test_overfitting_is_said(folder: Path) -> None:
    density = read_density(folder)
    frame = density.cells.copy()
    frame.loc[0, "last_valid"] = frame.loc[0, "best_valid"] + 3
    spoilt = replace(density, cells=frame)
    page_text = page(spoilt, differences(spoilt), [])
    assert "1 training (digits) overfit: validation rose again" in page_text
    assert "1 of them overfit: validation was best at step" in page_text


def test_a_broken_cell_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / "x.json").write_text("{")
    with pytest.raises(ReportError, match=r"x\.json: expected JSON of a sweep"):
        write_density(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def _flows(path: Path, names: tuple[str, ...]) -> Path:
    """Two processes: a step of the n-th flow takes ``n + 1`` ms, then three times as long."""
    rows = [
        {"kind": "contest", "process": process, "threads": 2, "contest": "training step"}
        | {"batch": 64, "event": "3x16x16", "competitor": name, "first": 1.0, "peak_memory": None}
        | {"seconds": (n + 1) * 1e-3 * (1, 3)[process], "rounds": 21}
        for process in (0, 1)
        for n, name in enumerate(names)
    ]
    header = {"kind": "contests", "torch": "2", "gpu": "Some GPU", "threads": [2]}
    path.write_text("".join(json.dumps(row) + "\n" for row in [header, *rows]), encoding="utf-8")
    return path


def test_flows_on_a_gpu_have_their_ratios(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "sweep")
    _flows(tmp_path / "sweep" / "flows-cuda.jsonl", ("1x1", "1x1+emerging"))
    text = write_density(tmp_path / "sweep", tmp_path / "out").read_text(encoding="utf-8")
    assert "## On a GPU\n\nOn Some GPU (torch 2)" in text
    assert "| `1x1+emerging` | 4.0 | 2.00 |" in text
    _flows(tmp_path / "sweep" / "flows-cuda.jsonl", ("emerging",))
    with pytest.raises(ReportError, match=r"flows-cuda.jsonl: expected the flow with 1x1"):
        read_density(tmp_path / "sweep")
    (tmp_path / "sweep" / "flows-cuda.jsonl").unlink()
    text = write_density(tmp_path / "sweep", tmp_path / "out").read_text(encoding="utf-8")
    assert "On a GPU" not in text


def test_a_cell_that_was_changed_is_told(tmp_path: Path) -> None:
    kept = Path(__file__).parent.parent / "reports" / "data" / "density"
    shutil.copytree(kept, tmp_path / "density")
    cell = next(iter(sorted((tmp_path / "density" / "cells").glob("*.json"))))
    text = cell.read_text()
    cell.write_text(re.sub(r'"steps": 1', '"steps": 9', text, count=1))
    assert cell.read_text() != text
    with pytest.raises(ReportError, match="does not agree with its checksum"):
        read_density(tmp_path / "density")
