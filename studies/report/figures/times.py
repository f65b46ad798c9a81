"""Time against pixels, and inverse over forward."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from studies.pages.fields import OPERATIONS
from studies.pages.style import OPERATION_STYLES, plain_ticks, size_name

_COLUMNS = 4
_SIZE_MARKERS = "osD^vPX*"


def _error_bars(rows: pd.DataFrame) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Distances from the median down and up; 0 where there is no interval."""
    low = (rows["median"] - rows["low"]).fillna(0).clip(lower=0)
    high = (rows["high"] - rows["median"]).fillna(0).clip(lower=0)
    return np.vstack([low.to_numpy(float), high.to_numpy(float)])


def _panel(axes: Axes, layer: str, rows: pd.DataFrame) -> None:
    for operation in OPERATIONS:
        for _, line in rows[rows["operation"] == operation].groupby("channels", sort=True):
            style = OPERATION_STYLES[operation]
            axes.errorbar(line["pixels"], line["median"], yerr=_error_bars(line), ms=4, **style)
    axes.set_title(layer.replace("(", "\n(") if len(layer) > 28 else layer)
    axes.grid(True)


def time_figure(timings: pd.DataFrame) -> Figure:
    """One panel a layer: forward, inverse and log-det against pixels, both axes logarithmic."""
    layers = sorted(set(timings["layer"]))
    across = min(_COLUMNS, len(layers))
    down = -(-len(layers) // across)
    figure = Figure(figsize=(2.5 * across + 0.5, 2.1 * down + 0.8), layout="constrained")
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    sizes = timings[["pixels", "height", "width"]].drop_duplicates("pixels").sort_values("pixels")
    for index, axes in enumerate(grid.flat):
        if index >= len(layers):
            axes.set_visible(False)
            continue
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_minor_locator(NullLocator())
        _panel(axes, layers[index], timings[timings["layer"] == layers[index]])
        names = [size_name(h, w) for h, w in zip(sizes["height"], sizes["width"], strict=True)]
        axes.set_xticks(sizes["pixels"].tolist(), names)
        axes.tick_params(labelbottom=index + across >= len(layers))
    figure.supxlabel("pixels (side squared)", size=8)
    figure.supylabel("seconds per call", size=8)
    handles = [
        Line2D([], [], label=operation.replace("_", "-"), **OPERATION_STYLES[operation])
        for operation in OPERATIONS
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False)
    return figure


#: A span of ratios over which a label at every 3, too, would run into its neighbours.
_CROWDED = 1e4


def ratio_figure(cells: pd.DataFrame, names: dict[str, str]) -> Figure:
    """One row a layer, one mark a size, one panel a machine: inverse over forward."""
    layers = sorted(set(cells["layer"]), reverse=True)
    sizes = cells[["pixels", "height", "width"]].drop_duplicates("pixels").sort_values("pixels")
    shades = matplotlib.colormaps["viridis"](np.linspace(0.9, 0.0, len(sizes)))
    height = 0.27 * len(layers) + 1.2
    figure = Figure(figsize=(3.2 * len(names) + 2.4, height), layout="constrained")
    grid = figure.subplots(1, len(names), sharex=True, sharey=True, squeeze=False)
    positive = cells.loc[cells["ratio"] > 0, "ratio"]
    wide = len(positive) > 0 and positive.max() / positive.min() > _CROWDED
    subs = (1.0,) if wide else (1.0, 3.0)
    for axes, machine in zip(grid.flat, names, strict=True):
        here = cells[cells["machine"] == machine]
        for index, pixels in enumerate(sizes["pixels"]):
            rows = here[(here["pixels"] == pixels) & here["ratio"].notna()]
            places = [layers.index(layer) for layer in rows["layer"]]
            axes.plot(rows["ratio"], places, **_size_style(index, shades[index]))
        axes.axvline(1, color="black", lw=0.8)
        axes.set_xscale("log")
        plain_ticks(axes.xaxis, subs)
        axes.set_yticks(range(len(layers)), layers)
        axes.set_ylim(-0.6, len(layers) - 0.4)
        axes.grid(True)
        axes.set_title(f"{machine}: " + "\n".join(names[machine].rsplit(", ", 1)))
    figure.supxlabel("inverse time over forward time", size=8)
    handles = [
        Line2D([], [], label=size_name(h, w), **_size_style(index, shades[index]))
        for index, (h, w) in enumerate(zip(sizes["height"], sizes["width"], strict=True))
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(sizes), frameon=False)
    return figure


def _size_style(index: int, shade: object) -> dict[str, Any]:
    marker = _SIZE_MARKERS[index % len(_SIZE_MARKERS)]
    return {"ls": "", "marker": marker, "color": shade, "ms": 3.5 + 0.6 * index, "mec": "black"} | {
        "mew": 0.4
    }
