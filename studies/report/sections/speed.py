"""Speed in short: inverse against forward by contest, and the layers at one size."""

from __future__ import annotations

import pandas as pd

from studies.pages.markdown import (
    code,
    csv_link,
    error_ratio,
    escape,
    number,
    plural,
    seconds,
    table,
)
from studies.pages.schema import Record
from studies.pages.tidy import records, where
from studies.report.frames import Frames
from studies.report.timings import headline_view

_HOW = (
    "A ratio of times in one process, the median over processes, from the smallest to the "
    "largest over sizes; *bar*: required; *aim*: stretch goal. The "
    "forward is the faster of a cropped and a masked 3x3 convolution, the inverse is the whole "
    "layer."
)


def speed(frames: Frames) -> str:
    """The contests, a row for each kind of bar, and forward and inverse of every layer."""
    title = "## Speed: what does the inverse cost?"
    return "\n\n".join([title, *_contests(frames), *_times(frames)])


def _contests(frames: Frames) -> list[str]:
    if frames.bars is None:
        return ["Contests are not measured: the input holds none (`emcheck compare`)."]
    bars = frames.bars
    measured = bars[bars["processes"] > 0]
    met, aims = int(measured["met"].sum()), int(measured["aim_met"].sum())
    told = f"**{met} of {len(measured)} bars met, {aims} of {len(measured)} aims.** {_HOW}"
    if len(measured) < len(bars):
        told += f" {plural(len(bars) - len(measured), 'bar')} not measured in this run."
    threads = sorted(set(bars["threads"]))
    head = ["ratio", "bar", "aim", *(plural(count, "thread") for count in threads), "met"]
    rows = [_bar(str(what), g, threads) for what, g in bars.groupby("what", sort=False)]
    links = f"Every size with its range: {csv_link('bars')}; the times: {csv_link('contests')}"
    return [told, table(head, rows), links]


def _bar(what: str, group: pd.DataFrame, threads: list[int]) -> list[str]:
    first, measured = records(group)[0], group[group["processes"] > 0]
    spans = [_span(where(measured, {"threads": count})["median"]) for count in threads]
    met = f"{int(measured['met'].sum())} of {len(measured)}" if len(measured) else "–"
    bar = f"{'≥' if first['at_least'] else '≤'} {first['bar']:g}"
    return [what, bar, f"{first['aim']:g}", *spans, met]


def _span(values: pd.Series[float]) -> str:
    """``0.33 to 0.51``, or the one number."""
    if not len(values):
        return "–"
    low, high = number(float(values.min())), number(float(values.max()))
    return low if low == high else f"{low} to {high}"


def _times(frames: Frames) -> list[str]:
    """The size that most layers share, on the first machine; variants stay in the CSV."""
    if frames.timings is None or frames.cells is None:
        return ["Times are not measured: there is no benchmark file among the inputs."]
    (machine, name), *others = frames.machine_names().items()
    chosen = headline_view(where(frames.timings, {"machine": machine}))
    cells = where(frames.cells, chosen | {"machine": machine}).sort_values("layer")
    plain = cells[~cells["layer"].str.contains("(", regex=False)]
    view = (
        f"Images of {chosen['height']}x{chosen['width']}, batch {chosen['batch']}, "
        f"{chosen['dtype']}, on machine {machine} ({escape(name)}): time per call, and the worst "
        "error ratio of forward, inverse and log-det at this size."
    )
    if others:
        view += f" {plural(len(others), 'more machine')}: below."
    head = ["layer", "forward", "inverse", "inverse / forward", "worst error ratio"]
    rows = [_cell(row) for row in records(plain if len(plain) else cells)]
    links = f"All sizes, layers and variants: {csv_link('times')}, {csv_link('times_by_cell')}"
    return [view, table(head, rows), links]


def _cell(row: Record) -> list[str]:
    times = [
        seconds(*(row[f"{op}_{part}"] for part in ("median", "low", "high", "interval")))
        for op in ("forward", "inverse")
    ]
    error = error_ratio(row["error_ratio"], row["error_threshold"], "")
    return [code(row["layer"]), *times, number(row["ratio"]), error]
