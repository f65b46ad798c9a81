"""Inverse against forward, solver against solver: what ran side by side."""

from __future__ import annotations

from studies.contests.reasons import WHY
from studies.contests.report import CACHE_ON_DISK, EMPTY_CACHE
from studies.pages.markdown import csv_link, figure, fold, number, plural, seconds, table
from studies.pages.tidy import records, where
from studies.report.frames import Frames

_FIRST = (EMPTY_CACHE, CACHE_ON_DISK)

_HOW = (
    "Competitors of a contest take turns in one process, weight preparation and log-det included; "
    "each ratio is the median over processes, in parentheses its range. The forward is the faster "
    "of the cropped convolution with one-sided padding and the masked 3x3 one, weights masked in "
    "the call; *with log-det* is the whole layer."
)


def contests(frames: Frames) -> str:
    """The bars with what was measured, the solvers by size, and the figure."""
    title = "### Side by side"
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
    met, aims = int(frames.bars["met"].sum()), int(frames.bars["aim_met"].sum())
    total = int((frames.bars["processes"] > 0).sum())
    verdict = f"**{met} of {total}** bars met, {aims} of {total} aims."
    if total < len(frames.bars):
        verdict += f" {plural(len(frames.bars) - total, 'bar')} not measured in this run."
    parts = [title, f"{verdict} {_HOW} {csv_link('bars')}, {csv_link('contests')}"]
    parts.append(fold("Bar by bar", table(head, rows, left=2)))
    short = frames.bars.loc[~frames.bars["met"] & (frames.bars["processes"] > 0), "what"].unique()
    reasons = [f"- *{what}*: {WHY[what]}" for what in short if what in WHY]
    if reasons:
        parts.append("Where a bar is not met, and why:\n\n" + "\n".join(reasons))
    parts.append(figure("solvers", "Time against pixels for every solver, 12 channels, float32"))
    parts += _counted(frames)
    parts += _first_calls(frames)
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


def _counted(frames: Frames) -> list[str]:
    """What each call should take by its products and bytes, beside what it takes."""
    if frames.counted is None or not len(frames.counted):
        return []
    threads = min(frames.counted["threads"])
    rows = [
        [
            str(row["what"]), str(row["size"]), f"{float(str(row['products'])) / 1e6:.2f}",
            f"{float(str(row['bytes'])) / 1e6:.2f}", _plain(row["expected"]),
            _plain(row["measured"]), number(float(str(row["ratio"]))),
        ]
        for row in records(where(frames.counted, {"threads": threads}))
    ]  # fmt: skip
    text = (
        f"**Counted, expected, measured**, {plural(threads, 'thread')}: the products and the bytes "
        "of a call, and the larger of the times that they take at the rates of two probes, a "
        f"product of large matrices and a copy of 32 MB. {csv_link('counted')}"
    )
    head = ["call", "size", "million products", "MB", "expected", "measured", "ratio"]
    return [text, fold("Call by call", table(head, rows, left=2))]


def _first_calls(frames: Frames) -> list[str]:
    """What compiling costs, apart from all other times."""
    assert frames.contests is not None
    found: dict[str, dict[str, dict[str, object]]] = {}
    for row in records(frames.contests):
        if row["contest"] in _FIRST:
            found.setdefault(str(row["competitor"]), {})[str(row["contest"])] = row
    rows = []
    for name, both in found.items():
        (row, *_) = both.values()
        first = [_plain(both[c]["first_call"]) if c in both else "–" for c in _FIRST]
        rows.append([name, str(row["event"]), str(row["batch"]), *first, _plain(row["seconds"])])
    if not rows:
        return []
    text = (
        "**The first call** in a fresh process. Compiled code is kept on the disk, for "
        "one dtype and one kind of lanes at a time. No time above includes it."
    )
    head = ["code", "size", "batch", "empty cache", "cache on disk", "later calls"]
    return [text, table(head, rows, left=2)]


def _plain(value: object) -> str:
    return seconds(float(str(value)), float("nan"), float("nan"), "")


def _times(frames: Frames, threads: int) -> str:
    assert frames.contests is not None
    rows = []
    for row in records(where(frames.contests, {"threads": threads})):
        if row["contest"] not in _FIRST:
            time = seconds(row["seconds"], row["low"], row["high"], "range")
            cells = [row["contest"], row["event"], row["batch"], row["competitor"], time]
            rows.append([str(cell) for cell in cells])
    return table(["contest", "size", "batch", "competitor", "time"], rows, left=2)
