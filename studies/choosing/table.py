"""One row for each mixing: reach, cost, accuracy and likelihood, side by side."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import pandas as pd

from studies.choosing.candidates import CHOSEN
from studies.choosing.kernels import reach
from studies.density.cell import RIVAL
from studies.density.report.load import Density
from studies.pages.tidy import records

#: The contest of the mixings alone, and of flows that are built of them.
MIXING, STEP, SAMPLING = "mixing", "training step", "sampling"

#: What all times are divided by: the same of the plain 1x1.
BASE = "1x1"


def choosing_frame(density: Density | None, contests: pd.DataFrame | None) -> pd.DataFrame:
    """Return one row for each mixing; NaN is what was not measured.

    Times are those of the mixing over those of the 1x1, in the same process, medians over
    processes with the fewest threads. Bits per dimension are of trainings at the smallest
    budget, matched to the emerging flow, means over seeds and data sets that every mixing has.
    """
    rows = [{"mixing": name, **asdict(reach(name))} for name in CHOSEN]
    frame = pd.DataFrame(rows).set_index("mixing")
    frame["dimension"] = frame["dimension"].astype("Int64")
    for column, values in {**_times(contests), **_learnt(density)}.items():
        frame[column] = pd.Series(values, dtype=float).reindex(frame.index)
    return frame.reset_index()


def _times(contests: pd.DataFrame | None) -> dict[str, dict[str, float]]:
    columns = {
        "forward": (MIXING, ""),
        "inverse": (MIXING, " inverse"),  # over the forward too: a slow one must show beside it
        "training_step": (STEP, ""),
        "sampling": (SAMPLING, ""),
    }
    found: dict[str, dict[str, float]] = {column: {} for column in columns}
    if contests is None:
        return found
    few = contests[contests["threads"] == contests["threads"].min()]
    for column, (contest, way) in columns.items():
        seconds = few[few["contest"] == contest].groupby("competitor")["seconds"].mean()
        base = seconds.get(BASE, math.nan)
        found[column] = {name: seconds.get(name + way, math.nan) / base for name in CHOSEN}
    return found


def _learnt(density: Density | None) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {
        name: {}
        for name in ("equal_time", "equal_parameters", "condition", "round_trip", "trainings")
    }
    if density is None:
        return found
    cells = density.trained
    cells = cells[cells["budget"] == cells["budget"].min()]
    for control, column in (("time", "equal_time"), ("parameters", "equal_parameters")):
        wanted = {_variant(name, control): name for name in CHOSEN}
        here = cells[cells["variant"].isin(wanted)].assign(
            mixing=lambda rows, wanted=wanted: rows["variant"].map(wanted)
        )
        bits = here.pivot_table(index=["data", "seed"], columns="mixing", values="test")
        found[column] = bits.dropna().mean().to_dict()
        if control == "time":
            pairs = pd.MultiIndex.from_frame(here[["data", "seed"]])
            here = here[pairs.isin(bits.dropna().index)]  # the same trainings for all
            found["trainings"] = bits.notna().sum().to_dict()
            found["condition"] = here.groupby("mixing")["condition"].max().to_dict()
            found["round_trip"] = here.groupby("mixing")["fidelity_image"].max().to_dict()
    return found


def _variant(mixing: str, control: str) -> str:
    return mixing if mixing == RIVAL else f"{mixing}, matched {control}"


def best(frame: pd.DataFrame, column: str) -> dict[str, Any] | None:
    """Return the row with the smallest value of a column, or None if nothing was measured."""
    known = frame[frame[column].notna()]
    return records(known.nsmallest(1, column))[0] if len(known) else None
