"""How time grows with pixels: fitted exponents with intervals."""

from __future__ import annotations

import math

import pandas as pd

from studies.pages.fields import OPERATIONS
from studies.pages.markdown import code, csv_link, escape, fold, number, table
from studies.pages.schema import Record
from studies.pages.tidy import records
from studies.report.frames import Frames
from studies.report.timings import FIXED, SMALL_SIDE

_FITS = {"all": "all sizes", "from16": f"from {SMALL_SIDE}x{SMALL_SIDE}"}

_HOW = (
    f"Least squares of log(median time) on log(pixels) over the {FIXED}-channel sweep, no size "
    f"left out, and once more with both sides from {SMALL_SIDE}, because the fixed cost of a call "
    "flattens small sizes. In brackets the 95% interval of the slope (Student's t, n - 2 degrees "
    "of freedom) and the number of points n. The interval takes a straight line for granted; where "
    "the largest factor off the line (column *misfit* of the CSV) is well above 1, the growth is "
    "not one power. 1 is linear in the pixels, 0 does not depend on them (the log-det of a layer "
    "with constant weights), 0.5 grows with the side."
)


def _fit(row: Record, name: str) -> str:
    exponent, n = row[f"exponent_{name}"], row[f"points_{name}"]
    if math.isnan(exponent):
        return f"– (n = {n})"
    low, high = row[f"low_{name}"], row[f"high_{name}"]
    if math.isnan(low):
        return f"{_two(exponent)} (n = {n}, no interval)"
    return f"{_two(exponent)} [{_two(low)}, {_two(high)}] (n = {n})"


def _two(value: float) -> str:
    """Two decimals, without a minus before zero."""
    return f"{round(value, 2) + 0.0:.2f}"


def _rows(growth: pd.DataFrame) -> list[list[str]]:
    rows = []
    for layer, group in growth.groupby("layer", sort=True):
        by = {str(row["operation"]): row for row in records(group)}
        row = [code(layer)]
        for operation in OPERATIONS:
            row += [_fit(by[operation], n) if operation in by else "–" for n in _FITS]
        rows.append(row)
    return rows


def growth(frames: Frames) -> str:
    """One table per machine, channel count, batch and dtype; the largest batch stands open."""
    title = "### Growth of time with pixels"
    if frames.timings is None:
        return f"{title}\n\nNot measured: there is no benchmark file among the inputs."
    if frames.growth is None:
        return f"{title}\n\nNot fitted: no benchmark belongs to the {FIXED}-channel sweep."
    head = ["layer"]
    for operation in OPERATIONS:
        head += [f"{operation.replace('_', '-')}, {label}" for label in _FITS.values()]
    names = frames.machine_names()
    largest = frames.growth["batch"].max()
    open_parts, folded = [], []
    keys = ["machine", "dtype", "channels", "batch"]
    for (machine, dtype, channels, batch), group in frames.growth.groupby(keys, sort=True):
        view = f"Machine {machine}, batch {batch}, {channels} channels, {dtype}"
        body = table(head, _rows(group))
        if batch == largest:
            open_parts.append(f"{view} ({escape(names[str(machine)])}):\n\n{body}")
        else:
            folded.append(fold(view, body))
    worst = frames.growth["misfit_from16"].max()
    note = f"Largest misfit of a fit from {SMALL_SIDE}: a factor {number(worst)}."
    link = f"{note} All fits with the sizes they stand on: {csv_link('growth')}"
    return "\n\n".join([title, _HOW, *open_parts, *folded, link])
