"""Claim c: whether the emerging convolution models images better than a 1x1 at equal cost."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from studies.claims.core import Claim, Evidence, Fact
from studies.density.cell import RIVAL
from studies.density.folders import CONSTANT_RATE, DECAYING_RATE
from studies.density.report.differences import CONTROLS, differences
from studies.density.report.load import Density, read_density
from studies.density.report.verdicts import verdicts
from studies.pages.errors import ReportError
from studies.pages.tidy import records

#: The two data sets of the controlled comparison, its depths, and the seeds that it has.
DATA, SHALLOW, DEEP, SEEDS = ("galaxies", "photographs"), 1, 4, 5


def _exchanged(density: Density, control: str) -> Density:
    """The world in which a control got the emerging flow's bits per dimension."""
    names = {RIVAL: control, control: RIVAL}
    variant = density.cells["variant"].replace(names)
    return replace(density, cells=density.cells.assign(variant=variant))


def _facts(gaps: pd.DataFrame) -> list[Fact]:
    rows = {(r["data"], r["depth"], r["control"]): r for r in records(gaps)}
    pairs = list(itertools.product(DATA, (SHALLOW, DEEP), CONTROLS))
    facts = []
    for data, depth, control in pairs:
        row = rows.get((data, depth, control), {})
        upper = np.max([row.get(name, np.nan) for name in ("high", "t_high")])
        what = f"{data}, depth {depth}, minus {control}: upper end of both intervals, bits/dim"
        facts.append(Fact(what, float(upper), "<=", 0.0))
    shallow, deep = (
        rows.get((DATA[0], depth, CONTROLS[0]), {}).get("difference", np.nan)
        for depth in (SHALLOW, DEEP)
    )
    what = f"{DATA[0]}: gain over the plain 1x1 at depth {DEEP} over that at depth {SHALLOW}"
    seeds = min(rows.get(pair, {}).get("seeds", 0) for pair in pairs)
    return [
        *facts,
        Fact(what, deep / shallow, "<=", 0.5),
        Fact("fewest seeds of a comparison", seeds, ">=", SEEDS),
    ]


def _read(longer: Path) -> Density | None:
    try:
        return read_density(longer)
    except ReportError:
        return None


def measure(
    cells: Path = CONSTANT_RATE, exchanged: str = "", longer: Path = DECAYING_RATE
) -> Evidence:
    """The intervals of the density experiment; nothing is trained here."""
    try:
        density = read_density(cells)
    except ReportError:
        told = "no trained cell is there (emcheck density sweep, in a checkout)"
        return Evidence([], "", missing=told)
    gaps = differences(_exchanged(density, exchanged) if exchanged else density)
    table = [dict(row) for row in records(gaps)]
    return Evidence(_facts(gaps), " ".join(verdicts(gaps, _read(longer))), {"differences": table})


CLAIM = Claim(
    letter="c",
    name="better-than-1x1",
    doubt="I do not see that a d x d convolution is better than a 1x1.",
    statement=(
        "In narrow flows after short training it is, at equal parameters and at equal time, at "
        "depth 1 and at depth 4; on galaxies the gain shrinks with depth, as in the paper's tables."
    ),
    measure=measure,
    negations={
        f"the results of {control} and of the emerging flow exchanged": partial(
            measure, exchanged=control
        )
        for control in CONTROLS
    },
)
