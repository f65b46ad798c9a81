"""One row for each mixing: reach, cost, accuracy and likelihood, side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from studies.choosing.candidates import CHOSEN
from studies.choosing.kernels import reach
from studies.density.cell import RIVAL
from studies.density.report.differences import FEWEST, interval
from studies.density.report.load import Density
from studies.pages.tidy import records

#: The contest of the mixings alone, and of flows that are built of them.
MIXING, STEP, SAMPLING = "mixing", "training step", "sampling"

#: What all times are divided by: the same of the plain 1x1.
BASE = "1x1"

#: How a training is matched to that of the emerging flow.
CONTROLS = ("time", "parameters")


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


def _learnt(density: Density | None) -> dict[str, dict[Any, Any]]:
    columns = ("equal_time", "equal_parameters", "condition", "round_trip")
    found: dict[str, dict[Any, Any]] = {name: {} for name in columns}
    if density is None:
        return found
    for control in CONTROLS:
        here = _matched(density, control)
        bits = here.pivot_table(index=["data", "seed"], columns="mixing", values="test").dropna()
        found[f"equal_{control}"] = bits.mean().to_dict()
        if control == "time":
            pairs = pd.MultiIndex.from_frame(here[["data", "seed"]])
            same = here[pairs.isin(bits.index)].groupby("mixing")  # the same trainings for all
            found["condition"] = same["condition"].max().to_dict()
            found["round_trip"] = same["fidelity_image"].max().to_dict()
    return found


def _matched(density: Density, control: str) -> pd.DataFrame:
    """Return the trainings of the smallest budget that are matched so, with their mixing."""
    wanted = {_variant(name, control): name for name in CHOSEN}
    cells = density.trained
    here = cells[(cells["budget"] == cells["budget"].min()) & cells["variant"].isin(wanted)]
    return here.assign(mixing=here["variant"].map(wanted))


def bits_frame(density: Density | None) -> pd.DataFrame | None:
    """Return one row for each data set, way of matching and mixing that was trained.

    ``bits`` is the mean over seeds of the test bits per dimension at the smallest budget. The
    columns ``base_*`` are the paired difference from the 1x1 and its interval of Student's t,
    ``best_*`` that from the mixing with the fewest bits among those with enough seeds.
    """
    rows: list[dict[str, Any]] = []
    for data, control, bits in _trained(density):
        enough = bits.columns[bits.notna().sum() >= FEWEST]
        first = str(bits[enough].mean().idxmin()) if len(enough) else ""
        rows += [
            {"data": data, "control": control, "mixing": mixing}
            | {"seeds": int(bits[mixing].notna().sum()), "bits": bits[mixing].mean()}
            | _gap("base", bits, mixing, BASE)
            | _gap("best", bits, mixing, first)
            for mixing in CHOSEN
            if mixing in bits
        ]
    return pd.DataFrame(rows) if rows else None


def _gap(name: str, bits: pd.DataFrame, mixing: str, other: str) -> dict[str, Any]:
    """Return how a mixing differs from another in the seeds that both have."""
    told: tuple[float, float, float, str] = (math.nan, math.nan, math.nan, "")
    gaps = (bits[mixing] - bits[other]).dropna().to_numpy() if other in bits else np.empty(0)
    if mixing == other:
        told = (0.0, math.nan, math.nan, "itself")
    elif len(gaps):
        found = interval(gaps)
        told = (found["difference"], found["t_low"], found["t_high"], found["verdict"])
    columns = ("difference", "low", "high", "verdict")
    return {f"{name}_{column}": value for column, value in zip(columns, told, strict=True)}


def _trained(density: Density | None) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield data set, way of matching, and the bits of each mixing (columns) by seed (rows)."""
    if density is None:
        return
    for control in CONTROLS:
        for data, group in _matched(density, control).groupby("data"):
            bits = group.pivot_table(index="seed", columns="mixing", values="test")
            yield str(data), control, bits


def _variant(mixing: str, control: str) -> str:
    return mixing if mixing == RIVAL else f"{mixing}, matched {control}"


def best(frame: pd.DataFrame, column: str) -> dict[str, Any] | None:
    """Return the row with the smallest value of a column, or None if nothing was measured."""
    known = frame[frame[column].notna()]
    return records(known.nsmallest(1, column))[0] if len(known) else None
