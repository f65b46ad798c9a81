"""From the cells of a sweep to density.md, tables and figures."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from emcheck._internal.files import write_all
from studies.density.folders import DECAYING_RATE
from studies.density.report.budget_section import draw_budget
from studies.density.report.differences import differences
from studies.density.report.figures import draw
from studies.density.report.load import Density, read_density
from studies.density.report.page import page
from studies.pages.csv import csv_bytes


def write_density(data: Path, out: Path, budgets: Path | None = None) -> Path:
    """Write density.md, tables/density_*.csv and figures/density_*.svg below ``out``.

    The same input gives the same bytes.

    Args:
        data: the folder of a sweep.
        out: the folder of the report.
        budgets: the folder of the sweep over the length of training; by default ``budget``
            beside ``data``, if it is there.

    Raises:
        ReportError: no finished cell, a broken file, or a folder that cannot be written.
    """
    density = read_density(data)
    budgets = budgets or data.with_name(DECAYING_RATE.name)
    longer = read_density(budgets) if (budgets / "cells").is_dir() else None
    gaps = differences(density)
    contents: dict[str, bytes] = {}
    for name, frame in _tables(density, gaps).items():
        contents[f"tables/density_{name}.csv"] = csv_bytes(frame)
    figures = draw(density, gaps)
    if longer is not None:
        figures["budget"] = draw_budget(longer)
        contents["tables/density_budget.csv"] = csv_bytes(longer.cells)
    for name, svg in figures.items():
        contents[f"figures/density_{name}.svg"] = svg
    contents["density.md"] = page(density, gaps, list(figures), longer).encode()
    write_all(out, contents)
    return out / "density.md"


def _tables(density: Density, gaps: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {
        "cells": density.cells,
        "curves": density.curves,
        "conditions": density.conditions,
        "baselines": density.baselines,
        "differences": gaps,
        "step_ratios": density.step_ratios,
    }
