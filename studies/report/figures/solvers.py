"""Time against pixels for every solver of the masked convolution."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from studies.contests.report import FORWARD
from studies.pages.style import size_name
from studies.pages.tidy import where

#: Competitor -> what it is, line style, marker, colour. Each of the last three alone tells it from
#: its neighbours; Okabe and Ito's palette, the two forwards in black.
_STYLES = {
    "forward, cropped": ("forward: conv2d, live quadrant", "-", "o", "#000000"),
    "forward, masked": ("forward: conv2d, masked kernel", "--", "o", "#000000"),
    "layer inverse": ("inverse of the layer", "-", "s", "#D55E00"),
    "lanes": ("its compiled solver alone", ":", "s", "#E69F00"),
    "tiles": ("tiles, plain torch", "-", "^", "#0072B2"),
    "scalar": ("pixel by pixel, compiled", "-", "v", "#CC79A7"),
    "paper": ("as in the paper's code", "-.", "*", "#7A4B1F"),
    "dense triangular": ("dense triangular solve", "--", "D", "#56B4E9"),
    "row by row": ("row by row", "--", "P", "#009E73"),
    "jacobi": ("Jacobi iteration", "--", "X", "#999999"),
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
        for name, (label, line, marker, colour) in _STYLES.items():
            points = where(here, {"competitor": name}).sort_values("pixels")
            axes.plot(
                points["pixels"],
                points["seconds"],
                ls=line,
                marker=marker,
                color=colour,
                label=label,
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
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False)
    return figure
