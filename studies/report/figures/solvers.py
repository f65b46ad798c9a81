"""Time against pixels for every solver of the masked convolution."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from studies.contests.report import FORWARD
from studies.pages.style import size_name
from studies.pages.tidy import where

#: Line style, marker, colour: Okabe and Ito's palette, the two forwards in black.
_STYLES = {
    "forward, cropped": ("-", "o", "#000000"),
    "forward, masked": ("--", "o", "#000000"),
    "layer inverse": ("-", "s", "#D55E00"),
    "lanes": (":", "s", "#E69F00"),
    "tiles": ("-", "^", "#0072B2"),
    "scalar": ("-", "v", "#CC79A7"),
    "paper": (":", "v", "#CC79A7"),
    "dense triangular": ("--", "D", "#56B4E9"),
    "row by row": ("--", "P", "#009E73"),
    "jacobi": ("--", "X", "#999999"),
}


def solver_figure(contests: pd.DataFrame) -> Figure | None:
    """One panel a batch, fewest threads, twelve channels; both axes logarithmic."""
    chosen = {"contest": "masked convolution", "channels": 12}
    rows = where(contests, chosen | {"threads": contests["threads"].min()})
    batches = sorted(set(rows["batch"]))
    if not batches:
        return None
    figure = Figure(figsize=(3.2 * len(batches) + 0.6, 3.9), layout="constrained")
    grid = figure.subplots(1, len(batches), sharey=True, squeeze=False)
    for axes, batch in zip(grid.flat, batches, strict=True):
        here = where(rows, {"batch": batch})
        axes.set_xscale("log")
        axes.set_yscale("log")
        for name, (line, marker, colour) in _STYLES.items():
            points = where(here, {"competitor": name}).sort_values("pixels")
            axes.plot(
                points["pixels"],
                points["seconds"],
                ls=line,
                marker=marker,
                color=colour,
                label=name,
                mfc="white" if name in FORWARD else colour,
            )
        sides = here[["pixels", "height", "width"]].drop_duplicates().sort_values("pixels")
        names = [size_name(h, w) for h, w in zip(sides["height"], sides["width"], strict=True)]
        axes.set_xticks(sides["pixels"].tolist(), names)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_title(f"batch {batch}")
        axes.grid(True)
    figure.supxlabel("pixels (side squared)", size=8)
    figure.supylabel("seconds per call", size=8)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=5, frameon=False)
    return figure
