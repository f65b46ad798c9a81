"""Pictures of matrices, kernels and borders: claims a, b and e."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from emcheck.oracle.precision import Array
from studies.claims.report.load import Told
from studies.pages.patterns import draw_pattern
from studies.pages.tidy import records

_INK = "#1A1A1A"


def patterns(told: Told) -> Figure:
    """The nonzero entries of five Jacobians, pixel by pixel."""
    frame = told.tables["patterns"]
    names = list(dict.fromkeys(frame["convolution"]))
    event = tuple(int(size) for size in str(frame["event"].iloc[0]).split("x"))
    figure = Figure(figsize=(8.4, 13.0))
    for n, name in enumerate(names):
        lines = frame.loc[frame["convolution"] == name, "nonzero"]
        axes = figure.add_axes((n % 2 * 0.52, (2 - n // 2) * 0.35, 0.4, 0.26))
        matrix = np.array([[int(digit) for digit in line] for line in lines])
        draw_pattern(axes, matrix, event)
        axes.set_title(name, weight="bold", pad=4)
    return figure


def supports(told: Told) -> Figure:
    """Taps of a periodic kernel and of its inverse by offset; then size against singularity."""
    figure = Figure(figsize=(8.4, 2.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.6))
    frame = told.tables["supports"]
    for axes, name in ((left, "convolution"), (middle, "inverse")):
        rows = frame[frame["operator"] == name]
        side = int(rows["down"].max()) + 1
        grid = rows["size"].to_numpy().reshape(side, side)
        _offsets(axes, np.roll(grid, (side // 2, side // 2), (0, 1)))
        axes.set_title(f"taps of the {name}")
    _sizes(right, told)
    return figure


def _offsets(axes: Axes, grid: Array) -> None:
    """Squares whose area grows with the logarithm of the tap; rounding noise stays empty."""
    side = len(grid)
    digits = np.log10(np.maximum(grid, 1e-12) / grid.max()) / 6 + 1
    axes.set_xlim(-0.5, side - 0.5)
    axes.set_ylim(side - 0.5, -0.5)
    axes.set_aspect("equal")
    for (i, j), share in np.ndenumerate(np.clip(digits, 0, 1)):
        if share > 0:
            size = 0.92 * np.sqrt(share)
            place = (j - size / 2, i - size / 2)
            axes.add_patch(_square(place, size))
    axes.set_xticks(range(side), [str(j - side // 2) for j in range(side)], size=6)
    axes.set_yticks(range(side), [str(i - side // 2) for i in range(side)], size=6)
    axes.set_xlabel("offset to the right")
    axes.set_ylabel("offset downwards")


def _square(place: tuple[float, float], size: float):  # type: ignore[no-untyped-def]
    from matplotlib.patches import Rectangle

    return Rectangle(place, size, size, color=_INK, lw=0)


def _sizes(axes: Axes, told: Told) -> None:
    """The smallest singular value of two kernels against the side of the image."""
    styles = {"box": ("-", "o", "#D55E00"), "sharp": ("--", "s", "#0072B2")}
    labels = {"box": "box filter (1/9 each)", "sharp": "centre 1, neighbours 1/16"}
    for kernel, rows in told.tables["sizes"].groupby("kernel"):
        line, marker, color = styles[str(kernel)]
        values = rows["smallest"].mask(rows["smallest"] < 1e-5)  # no line through what has no value
        axes.plot(rows["size"], values, ls=line, marker=marker, color=color, ms=3,
                  label=labels[str(kernel)])  # fmt: skip
        gone = rows[rows["smallest"] < 1e-5]
        axes.plot(gone["size"], [0.03] * len(gone), "x", color="black", ms=6,
                  transform=axes.get_xaxis_transform(),
                  label="singular: no value" if len(gone) else None)  # fmt: skip
    axes.set_yscale("log")
    axes.set_ylim(5e-6, 6)
    axes.set_xlabel("side of the image")
    axes.set_ylabel("smallest singular value")
    axes.grid(True)
    axes.legend(frameon=False, fontsize=6, loc=(0.42, 0.62))


def borders(told: Told) -> Figure:
    """Where the pair differs from the one convolution, for three kernel sizes."""
    frame = told.tables["borders"]
    sizes = sorted(frame["kernel"].unique())
    figure = Figure(figsize=(2.5 * len(sizes), 2.5), layout="constrained")
    for axes, k in zip(figure.subplots(1, len(sizes), squeeze=False)[0], sizes, strict=True):
        rows = frame[frame["kernel"] == k]
        side = int(rows["i"].max()) + 1
        grid = rows["difference"].to_numpy().reshape(side, side)
        axes.imshow(grid > 1e-9, cmap="Greys", vmin=0, vmax=1.3, extent=(0, side, side, 0))
        axes.set_xticks(range(side + 1), [""] * (side + 1))
        axes.set_yticks(range(side + 1), [""] * (side + 1))
        axes.grid(True)
        axes.tick_params(length=0)
        axes.set_title(f"k = {k}: {int((grid > 1e-9).sum())} of {side * side} pixels")
    return figure


def fields(told: Told) -> Figure:
    """The pixels that each pair of masks sees around the one in the middle."""
    rows = records(told.tables["fields"])
    figure = Figure(figsize=(7.4, 3.5), layout="constrained")
    panels = figure.subplots(2, (len(rows) + 1) // 2).flat
    for axes, row in zip(panels, rows, strict=False):
        seen = np.array([[int(digit) for digit in line] for line in str(row["seen"]).split()])
        side = len(seen)
        axes.imshow(seen, cmap="Greys", vmin=0, vmax=1.3, extent=(0, side, side, 0))
        axes.plot([side / 2], [side / 2], "o", mfc="white", mec="black", ms=5)
        axes.set_xticks(range(side + 1), [""] * (side + 1))
        axes.set_yticks(range(side + 1), [""] * (side + 1))
        axes.grid(True)
        axes.tick_params(length=0)
        axes.set_title(f"{row['first']}\nthen {row['second']}: {row['pixels']}", size=6)
    return figure
