"""Likelihood at equal time over the price of the inverse."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from studies.pages.markdown import number
from studies.pages.style import house_style, to_svg
from studies.pages.tidy import records


def draw(frame: pd.DataFrame) -> bytes:
    """Draw one mark for each mixing of which both were measured, as SVG."""
    with house_style():
        return to_svg(_figure(frame))


def _figure(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    known = frame[frame["inverse"].notna() & frame["equal_time"].notna()]
    for row in records(known):
        pixels = row["seen"] > 1
        axes.plot([row["inverse"]], [row["equal_time"]], "o" if pixels else "s",
                  color="#D55E00" if pixels else "#000000", mfc="white")  # fmt: skip
        label = f"{row['mixing']} ({number(row['condition'])})"
        shift, side = (5, "left") if pixels else (-5, "right")
        axes.annotate(label, (row["inverse"], row["equal_time"]), (shift, 0), ha=side, va="center",
                      textcoords="offset points", size=7)  # fmt: skip
    if not len(known):
        axes.text(0.5, 0.5, "not measured", ha="center", transform=axes.transAxes)
    else:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(0.28, 0.12)
    axes.grid(True)
    axes.set_xlabel("time of the inverse over the forward of a 1x1")
    axes.set_ylabel("test bits/dim at equal time")
    return figure
