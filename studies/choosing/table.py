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


def _learnt(density: Density | None) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {
        name: {} for name in ("equal_time", "equal_parameters", "condition", "round_trip")
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
            found["condition"] = here.groupby("mixing")["condition"].max().to_dict()
            found["round_trip"] = here.groupby("mixing")["fidelity_image"].max().to_dict()
    return found


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
    cells = density.trained
    cells = cells[cells["budget"] == cells["budget"].min()]
    for control in CONTROLS:
        wanted = {_variant(name, control): name for name in CHOSEN}
        here = cells[cells["variant"].isin(wanted)]
        here = here.assign(mixing=here["variant"].map(wanted))
        for data, group in here.groupby("data"):
            yield (
                str(data),
                control,
                group.pivot_table(index="seed", columns="mixing", values="test"),
            )


def _variant(mixing: str, control: str) -> str:
    return mixing if mixing == RIVAL else f"{mixing}, matched {control}"


def best(frame: pd.DataFrame, column: str) -> dict[str, Any] | None:
    """Return the row with the smallest value of a column, or None if nothing was measured."""
    known = frame[frame[column].notna()]
    return records(known.nsmallest(1, column))[0] if len(known) else None
