"""Times by layer, size and machine, the inverse-to-forward ratio, the growth exponents."""

from __future__ import annotations

import math

import pandas as pd

from studies.pages.fields import OPERATIONS
from studies.pages.markdown import (
    code,
    csv_link,
    error_ratio,
    escape,
    figure,
    fold,
    number,
    plural,
    seconds,
    table,
)
from studies.pages.schema import Record
from studies.pages.tidy import records, size_names, where
from studies.report.frames import Frames
from studies.report.timings import CELL_KEYS, headline_view, sweep_view


def _interval(value: float, low: float, high: float) -> str:
    if math.isnan(low):
        return number(value, 3)
    return f"{number(value, 3)} [{number(low, 3)}, {number(high, 3)}]"


def _measured(row: Record | None) -> list[str]:
    """One machine's part of a row: three times, their ratio, the worst error, the slow rounds."""
    if row is None:
        return ["–"] * 6
    times = [
        seconds(*(row[f"{op}_{part}"] for part in ("median", "low", "high", "interval")))
        for op in OPERATIONS
    ]
    slow = f"{row['slow_rounds']:,} of {row['rounds']:,}"
    if not math.isnan(row["max_over_median"]):
        slow += f", {number(row['max_over_median'])}x"
    error = error_ratio(row["error_ratio"], row["error_threshold"], escape(row["error_rule"]))
    ratio = _interval(row["ratio"], row["ratio_low"], row["ratio_high"])
    return [*times, ratio, f"{error} ({row['error_operation']})", slow]


_MEASURED = [
    "forward",
    "inverse",
    "log-det",
    "inverse / forward",
    "worst error ratio",
    "slow rounds",
]


def cell_table(cells: pd.DataFrame, machines: list[str], lead: list[str]) -> str:
    """Cells as rows, one group of columns per machine; ``lead`` names the leading columns."""
    many = len(machines) > 1
    head = lead + [f"{name} [{m}]" if many else name for m in machines for name in _MEASURED]
    rows = []
    for key, group in cells.groupby(CELL_KEYS, sort=True):
        named = dict(zip(CELL_KEYS, key, strict=True))
        named["layer"] = code(named["layer"])
        named["image"] = f"{named['height']}x{named['width']}"
        by_machine = {str(row["machine"]): row for row in records(group)}
        row = [str(named[name]) for name in lead]
        for machine in machines:
            row += _measured(by_machine.get(machine))
        rows.append(row)
    return table(head, rows)


def _operation_table(timings: pd.DataFrame, machines: list[str]) -> str:
    """Layers and operations as rows, time and error of each machine side by side."""
    head = ["layer", "channels", "operation"]
    head += [f"{name} [{machine}]" for machine in machines for name in ("time", "error ratio")]
    rows = []
    for key, group in timings.groupby(["layer", "channels", "operation"], sort=True):
        by_machine = {str(row["machine"]): row for row in records(group)}
        cells = []
        for machine in machines:
            row = by_machine.get(machine)
            cells += _timed(row) if row is not None else ["–", "–"]
        rows.append([code(key[0]), key[1], str(key[2]).replace("_", "-"), *cells])
    return table(head, rows)


def _timed(row: Record) -> list[str]:
    """One time and its error."""
    time = seconds(row["median"], row["low"], row["high"], row["interval"])
    rule = escape(row["error_rule"])
    return [time, error_ratio(row["error_ratio"], row["error_threshold"], rule)]


def times(frames: Frames) -> str:
    """The headline table at one size, the figures, and every cell folded by layer."""
    title = "### Times"
    if frames.timings is None or frames.cells is None:
        return f"{title}\n\nNot measured: there is no benchmark file among the inputs."
    machines = list(frames.machine_names())
    chosen = headline_view(frames.timings)
    size = f"{chosen['height']}x{chosen['width']}"
    view = where(frames.cells, chosen)
    everywhere = plural(frames.timings["layer"].nunique(), "layer")
    intro = (
        f"Images of {size}, batch {chosen['batch']}, {chosen['dtype']}, {chosen['sweep']} sweep: "
        f"the size that most layers share ({view['layer'].nunique()} of {everywhere}). Seconds "
        "per call, with the error ratio in the same row."
    )
    headline = (
        cell_table(view, machines, ["layer", "channels"])
        if len(machines) == 1
        else _operation_table(where(frames.timings, chosen), machines)
    )
    folds = []
    for layer, group in frames.cells.groupby("layer", sort=True):
        lead = ["sweep", "channels", "image", "batch", "dtype"]
        folds.append(fold(f"{code_html(layer)}: all sizes", cell_table(group, machines, lead)))
    return "\n\n".join(
        [
            title,
            intro,
            fold(f"All layers at {size}", headline),
            *_time_figures(frames),
            "Every cell, layer by layer:",
            "\n".join(folds),
            f"{csv_link('times')} (one row a time), {csv_link('times_by_cell')} (side by side)",
        ]
    )


def code_html(value: object) -> str:
    """A name in code type where Markdown is not read (the title of a fold)."""
    return f"<code>{escape(value)}</code>"


def _time_figures(frames: Frames) -> list[str]:
    caption = (
        "Time against pixels on machine {}, one panel a layer, both axes logarithmic, "
        "{}. Parallel lines grow alike; the distance between the dashed inverse and the solid "
        "forward line is the price of inverting; a flat left end is the fixed cost of a call. "
        "Bars are the 95% intervals of the medians (or the range), often smaller than the marker."
    )
    assert frames.timings is not None
    parts = []
    for machine, name in frames.machine_names().items():
        shown = sweep_view(frames.timings[frames.timings["machine"] == machine])
        view = f"{shown['sweep']} sweep, batch {shown['batch']}, {shown['dtype']}"
        place = f"{machine} ({escape(name)})".replace("*", "")
        drawn = where(frames.timings, {"machine": machine} | shown)
        parts.append(figure(f"time_{machine}", caption.format(place, view) + _jumps(drawn)))
    return parts


#: Times the time of the next smaller image from which on a time is an outlier, to be named.
_JUMP = 50.0


def _jumps(timings: pd.DataFrame) -> str:
    """The times that leave the line of their layer, in words."""
    told = []
    for key, rows in timings.groupby(["layer", "operation"], sort=True):
        layer, operation = map(str, key)
        line = rows.groupby("pixels")[["median"]].max().sort_index()
        rise = line["median"] / line["median"].shift()
        told += [
            f"{code(layer)} {operation.replace('_', '-')} at {pixels:,} pixels: "
            f"{line.loc[pixels, 'median']:.2g} s, {rise[pixels]:,.0f} times the size before"
            for pixels in rise.index[rise > _JUMP]
        ]
    return f" Outliers, kept as measured: {'; '.join(told)}." if told else ""


def price(frames: Frames) -> str:
    """How many times a forward pass an inverse costs, by layer and size."""
    title = "### Inverse over forward"
    if frames.cells is None or frames.timings is None:
        return f"{title}\n\nNot measured: there is no benchmark file among the inputs."
    parts = [title]
    for machine, name in frames.machine_names().items():
        shown = sweep_view(frames.timings[frames.timings["machine"] == machine])
        cells = where(frames.cells[frames.cells["machine"] == machine], shown)
        wide = cells.assign(size=size_names(cells)).pivot_table(
            index=["layer", "channels"], columns=["pixels", "size"], values="ratio", sort=True
        )
        rows = [
            [code(layer), channels, *(number(value) for value in values)]
            for (layer, channels), values in zip(wide.index, wide.to_numpy().tolist(), strict=True)
        ]
        parts.append(
            f"Machine {machine} ({escape(name)}), {shown['sweep']} sweep, batch "
            f"{shown['batch']}, {shown['dtype']}; ratio of the medians:"
        )
        parts.append(table(["layer", "channels", *wide.columns.get_level_values("size")], rows))
    caption = (
        "Inverse over forward, one row a layer, one mark a size (darker and larger marks are "
        "larger images). The solid line is 1: marks on it cost the same both ways, marks far to "
        "the right are layers whose inverse is sequential."
    )
    parts.append(figure("inverse_over_forward", caption))
    return "\n\n".join(parts)
