"""Inverse against forward, solver against solver: what ran side by side."""

from __future__ import annotations

from emcheck.report.contests import WHY
from emcheck.report.frames import Frames
from emcheck.report.markdown import csv_link, figure, fold, number, plural, seconds, table
from emcheck.report.tidy import records, where

_HOW = (
    "Competitors of a contest take turns in one process, weight preparation and log-det included; "
    "each ratio is the median over processes, in parentheses its range. The forward is the faster "
    "of the cropped convolution with one-sided padding and the masked 3x3 one, weights masked in "
    "the call; *inverse* is the solver with the same, *with log-det* the whole layer. *First call* "
    "includes loading compiled code, or compiling it where the cache was empty."
)


def contests(frames: Frames) -> str:
    """The bars with what was measured, the solvers by size, and the figure."""
    title = "## Side by side"
    if frames.contests is None or frames.bars is None:
        return f"{title}\n\nNot measured: the input holds no contest (`emcheck compare`)."
    threads = sorted(set(frames.bars["threads"]))
    head = ["ratio", "size", "bar", "aim"]
    for count in threads:
        head += [f"measured, {plural(count, 'thread')}", "met"]
    rows = []
    for (what, size), group in frames.bars.groupby(["what", "size"], sort=False):
        first = records(group)[0]
        sign = "≥" if first["at_least"] else "≤"
        row = [str(what), str(size), f"{sign} {first['bar']:g}", f"{first['aim']:g}"]
        for count in threads:
            (entry,) = records(where(group, {"threads": count}))
            row += [_measured(entry), _met(entry)]
        rows.append(row)
    met, total = int(frames.bars["met"].sum()), len(frames.bars)
    aims = int(frames.bars["aim_met"].sum())
    verdict = f"**{met} of {total}** bars met, {aims} of {total} aims."
    parts = [title, f"{verdict} {_HOW} {csv_link('bars')}, {csv_link('contests')}"]
    parts.append(table(head, rows, left=2))
    short = frames.bars.loc[~frames.bars["met"] & (frames.bars["processes"] > 0), "what"].unique()
    reasons = [f"- *{what}*: {WHY[what]}" for what in short if what in WHY]
    if reasons:
        parts.append("Where a bar is not met, and why:\n\n" + "\n".join(reasons))
    parts.append(figure("solvers", "Time against pixels for every solver, 12 channels, float32"))
    parts += [fold(f"Times, {plural(count, 'thread')}", _times(frames, count)) for count in threads]
    return "\n\n".join(parts)


def _measured(row: dict[str, object]) -> str:
    low, high = number(float(str(row["low"]))), number(float(str(row["high"])))
    return f"{number(float(str(row['median'])))} ({low}, {high})"


def _met(row: dict[str, object]) -> str:
    if not row["processes"]:
        return "–"
    if row["aim_met"]:
        return "aim"
    return "yes" if row["met"] else "**no**"


def _times(frames: Frames, threads: int) -> str:
    assert frames.contests is not None
    rows = []
    for row in records(where(frames.contests, {"threads": threads})):
        time = seconds(row["seconds"], row["low"], row["high"], "range")
        cold = seconds(row["first_call"], float("nan"), float("nan"), "")
        cells = [row["contest"], row["event"], row["batch"], row["competitor"], time, cold]
        rows.append([str(cell) for cell in cells])
    return table(["contest", "size", "batch", "competitor", "time", "first call"], rows, left=2)
