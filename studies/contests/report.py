"""Contests: ratios of competitors that ran side by side, against what they should reach."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

#: The growth with pixels is fitted from this side on, at the batch of the growing contests.
GROWTH_SIDE, GROWTH_BATCH = 16, 4

#: Channels and side of the 1x1 convolutions.
POINTWISE = (
    *((channels, 16) for channels in (12, 24, 48, 192)),
    *((12, 32), (12, 64), (24, 8), (48, 8), (192, 8)),
)

FORWARD = ("forward, cropped", "forward, masked")

#: The records of memory: of one inverse in a fresh process, and of a step of whole flows.
PEAK, KEPT = "peak memory", "kept for the backward"

#: The contests of compiled calls: their first one, in a fresh process.
EMPTY_CACHE, CACHE_ON_DISK = "first call, empty cache", "first call, cache on disk"


@dataclass(frozen=True)
class Bar:
    """A ratio that should be at most ``limit`` and would be excellent at ``aim``.

    ``measure`` takes the times of one process, a series by (contest, batch, event,
    competitor), and returns the ratio, or NaN where something was not measured. A bar with
    ``least`` is reached from below.
    """

    what: str
    size: str
    limit: float
    aim: float
    measure: Callable[[pd.Series], float]
    least: bool = False

    def met(self, value: float, limit: float) -> bool:
        return value >= limit if self.least else value <= limit


def _fastest(
    times: pd.Series, contest: str, batch: int, event: str, names: tuple[str, ...]
) -> float:
    found = [float(times.get((contest, batch, event, name), np.nan)) for name in names]
    return min(found)


def _over(
    contest: str, batch: int, event: str, above: tuple[str, ...], below: tuple[str, ...]
) -> Callable[[pd.Series], float]:
    """Fastest of ``above`` over fastest of ``below``."""

    def measure(times: pd.Series) -> float:
        top, bottom = (_fastest(times, contest, batch, event, names) for names in (above, below))
        return top / bottom

    return measure


def slope(times: pd.Series, names: tuple[str, ...]) -> float:
    """Least-squares slope of log time on log pixels over the growing contests."""
    points = []
    for _, batch, event, _ in times.index:
        side = int(str(event).split("x")[1])
        if batch == GROWTH_BATCH and side >= GROWTH_SIDE:
            points.append((side, str(event)))
    pixels, seconds = [], []
    for side, event in sorted(set(points)):
        pixels.append(2 * np.log(side))
        seconds.append(np.log(_fastest(times, "masked convolution", GROWTH_BATCH, event, names)))
    return float(np.polyfit(pixels, seconds, 1)[0]) if len(pixels) > 2 else float("nan")


def _growth(times: pd.Series) -> float:
    return slope(times, ("layer inverse",)) - slope(times, FORWARD)


def _slower_way(event: str) -> Callable[[pd.Series], float]:
    """The slower direction of our dense 1x1 convolution over that of normflows."""

    def measure(times: pd.Series) -> float:
        def slower(name: str) -> float:
            both = (name, f"{name} inverse")
            found = [_fastest(times, "1x1 convolution", 32, event, (way,)) for way in both]
            return float(np.max(found))  # NaN if either was not measured

        return slower("dense") / slower("normflows")

    return measure


def _periodic(event: str) -> Callable[[pd.Series], float]:
    """The slower direction of the periodic 3x3 over ``conv2d`` of as many taps, all nine."""

    def measure(times: pd.Series) -> float:
        ways = [_fastest(times, "PeriodicConv2d", 32, event, (w,)) for w in ("forward", "inverse")]
        nine = _fastest(times, "masked convolution", 32, event, ("forward, masked",))
        return float(np.max(ways)) / nine

    return measure


def _bars() -> list[Bar]:
    inverse, masked = ("layer inverse",), "masked convolution"
    sizes = ["12x16x16", "24x8x8", "48x4x4", "12x32x32", "12x64x64", "12x128x128"]
    bars = []
    for size in sizes:
        measure = _over(masked, 32, size, inverse, FORWARD)
        bars.append(Bar("inverse with log-det / forward, batch 32", size, 0.7, 0.4, measure))
    for size in sizes[3:]:
        measure = _over(masked, 1, size, inverse, FORWARD)
        bars.append(Bar("inverse with log-det / forward, batch 1", size, 1.5, 1, measure))
    for size in sizes:
        measure = _over(masked, 32, size, ("tiles",), FORWARD)
        bars.append(Bar("tiled wavefront in torch / forward, batch 32", size, 4, 2, measure))
    for size in sizes:
        measure = _over(masked, 32, size, ("paper",), inverse)
        bars.append(Bar("the paper's algorithm / inverse, batch 32", size, 60, 150, measure, True))
    for size in sizes[:5]:
        measure = _over("EmergingConv2d", 32, size, ("inverse",), ("forward",))
        bars.append(Bar("emerging: inverse / forward", size, 1, 0.7, measure))
    for size in sizes[:5]:
        measure = _over("EmergingConv2d", 32, size, ("inverse",), ("conv2d, cropped",))
        bars.append(Bar("emerging: inverse / two conv2d", size, 0.5, 0.35, measure))
    for size in sizes[:5]:
        below = ("conv2d, cropped", "conv2d, masked")
        measure = _over("backward", 32, size, ("inverse",), below)
        bars.append(Bar("backward of the inverse / of conv2d", size, 1.2, 0.8, measure))
    for size in sizes[:5]:
        measure = _over("PeriodicConv2d", 32, size, ("inverse",), ("forward",))
        bars.append(Bar("periodic: inverse / forward", size, 1, 0.8, measure))
    slower = "periodic: slower way / conv2d"
    bars += [Bar(slower, size, 1.5, 1.0, _periodic(size)) for size in sizes[:5]]
    for channels in (12, 48, 192):
        size = f"{channels}x16x16"
        measure = _over("1x1 convolution", 32, size, ("QR",), ("dense",))
        bars.append(Bar("1x1 QR forward / dense forward", size, 1.3, 1.1, measure))
    for channels, side in POINTWISE:
        size = f"{channels}x{side}x{side}"
        for name in ("dense", "PLU", "QR"):
            measure = _over("1x1 convolution", 32, size, (f"{name} inverse",), (name,))
            bars.append(Bar(f"1x1 {name}: inverse / forward", size, 1.8, 1.2, measure))
        bars.append(Bar("1x1 dense / normflows, slower way", size, 0.8, 0.4, _slower_way(size)))
    for what in ("training step", "sampling"):
        measure = _over(what, 64, "3x16x16", ("1x1+emerging",), ("1x1",))
        limit, aim = (1.15, 1.08) if what == "training step" else (1.3, 1.15)
        name = f"flow of width 64: {what}, 1x1+emerging / 1x1"
        bars.append(Bar(name, "3x16x16", limit, aim, measure))
        measure = _over(what, 64, "3x16x16", ("plu",), ("normflows",))
        name = f"flow of width 64: {what}, PLU / normflows"
        bars.append(Bar(name, "3x16x16", 0.9, 0.6, measure))
    grown = "12 channels, 16x16 to 256x256, batch 4"
    bars.append(Bar("growth with pixels: exponent minus the forward's", grown, 0.05, 0.0, _growth))
    return bars


BARS = tuple(_bars())

KEYS = ["contest", "batch", "event", "competitor"]


def bar_frame(contests: pd.DataFrame) -> pd.DataFrame:
    """One row per bar and thread count: the median over processes, and its range."""
    rows = []
    for threads, here in contests.groupby("threads", sort=True):
        series = {
            process: run.set_index(KEYS)["seconds"].sort_index()
            for process, run in here[here["seconds"].notna()].groupby("process", sort=True)
        }
        for bar in BARS:
            values = [bar.measure(times) for times in series.values()]
            rows.append(_row(bar, int(str(threads)), [v for v in values if not np.isnan(v)]))
        rows += [_row(bar, int(str(threads)), values) for bar, values in _memory(here)]
        first = contests[contests["contest"] == EMPTY_CACHE]
        for name, calls in first.groupby("competitor", sort=False):
            what = "first call with an empty cache, in seconds"
            limit = Bar(what, str(name), 1.5, 0.5, lambda _: 0.0)
            seconds = calls.loc[calls["threads"] == threads, "first"].tolist()
            rows.append(_row(limit, int(str(threads)), seconds))
    return pd.DataFrame(rows)


def _memory(here: pd.DataFrame) -> Iterator[tuple[Bar, list[float]]]:
    """The bars of memory, each with a value for each process."""
    held = here[here["peak_memory"].notna()]
    limit = Bar("peak memory of the inverse / its input", "12x256x256", 4, 2.5, lambda _: 0.0)
    yield limit, held.loc[held["contest"] == PEAK, "peak_memory"].tolist()
    kept = held[held["contest"] == KEPT].pivot(
        index="process", columns="competitor", values="peak_memory"
    )
    limit = Bar(
        "flow of width 64: memory kept for the backward, PLU / normflows",
        "3x16x16", 0.9, 0.6, lambda _: 0.0,
    )  # fmt: skip
    both = {"plu", "normflows"} <= set(kept.columns)
    yield limit, (kept["plu"] / kept["normflows"]).dropna().tolist() if both else []


def _row(bar: Bar, threads: int, values: list[float]) -> dict[str, object]:
    median = float(np.median(values)) if values else float("nan")
    return {
        "what": bar.what,
        "size": bar.size,
        "threads": threads,
        "bar": bar.limit,
        "aim": bar.aim,
        "at_least": bar.least,
        "median": median,
        "low": min(values, default=float("nan")),
        "high": max(values, default=float("nan")),
        "processes": len(values),
        "met": bar.met(median, bar.limit),
        "aim_met": bar.met(median, bar.aim),
    }


def contest_frame(contests: pd.DataFrame) -> pd.DataFrame:
    """One row per contest and competitor: median over processes of time and of the first call."""
    timed = contests[contests["seconds"].notna()]
    grouped = timed.groupby(["threads", *KEYS], sort=False)
    frame = grouped.agg(
        seconds=("seconds", "median"),
        low=("seconds", "min"),
        high=("seconds", "max"),
        first_call=("first", "median"),
        processes=("process", "nunique"),
    ).reset_index()
    sizes = frame["event"].str.split("x", expand=True).astype(int)
    frame["channels"], frame["height"], frame["width"] = sizes[0], sizes[1], sizes[2]
    frame["pixels"] = frame["height"] * frame["width"]
    return frame
