"""The worst ratio of each check against its threshold."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from studies.pages.tidy import records

_ROW = 0.185  # inches a check


def _limits(values: list[float]) -> tuple[float, float]:
    """Whole decades around the finite positive values and the threshold."""
    finite = [value for value in values if 0 < value < math.inf]
    low = 10.0 ** (math.floor(math.log10(min([*finite, 0.1]))) - 0.3)
    high = 10.0 ** (math.ceil(math.log10(max([*finite, 1.0]) * 1.5)) + 0.15)
    return low, high


def _mark(axes: Axes, value: float, place: int, low: float, high: float) -> None:
    if value == math.inf:
        axes.plot([low, high / 1.4], [place, place], color="#D55E00", lw=1.5)
        axes.plot([high / 1.4], [place], "X", color="#D55E00", mec="black", ms=7)
        axes.annotate("inf", (high / 1.4, place), (-6, 2), textcoords="offset points", ha="right")
    elif value > 1:
        axes.plot([low, value], [place, place], color="#D55E00", lw=1.5)
        axes.plot([value], [place], "X", color="#D55E00", mec="black", ms=7)
    elif value > 0:
        axes.plot([low, value], [place, place], color="#999999", lw=0.8)
        axes.plot([value], [place], "o", color="#0072B2", ms=4)
    else:
        axes.plot([low * 1.15], [place], "o", mfc="white", mec="black", ms=4)


def worst_ratio_figure(worst: pd.DataFrame) -> Figure | None:
    """One row a check, filed by family: ratio over threshold, with the layer and the rule."""
    drawn = worst[worst["excess"].notna()]
    if not len(drawn):
        return None
    low, high = _limits([float(value) for value in drawn["excess"]])
    left: list[str] = []
    right: list[str] = []
    heads: list[int] = []
    figure = Figure(figsize=(4.6, _ROW * (len(drawn) + drawn["family"].nunique()) + 0.3))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    for family, rows in drawn.groupby("family", sort=True):
        heads.append(len(left))
        left.append(str(family).replace("_", " ").upper())
        right.append("")
        for row in records(rows):
            _mark(axes, float(row["excess"]), len(left), low, high)
            left.append(str(row["check"]))
            right.append(f"{row['layer']}, {row['dtype']}  {row['rule']}".rstrip())
    axes.axvline(1, color="black", lw=1.2)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(len(left) - 0.4, -0.6)
    axes.set_yticks(range(len(left)), left, size=7)
    for place in heads:
        axes.get_yticklabels()[place].set_fontweight("bold")
        axes.axhspan(place - 0.5, place + 0.5, color="#EEEEEE", zorder=0)
    axes.grid(True, axis="x")
    axes.set_xlabel("worst ratio over its threshold (left of the line passes)")
    names = axes.secondary_yaxis("right")
    names.set_yticks(range(len(right)), right, size=7)
    names.tick_params(length=0)
    axes.tick_params(axis="y", length=0)
    return figure
