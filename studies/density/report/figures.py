"""Curves, differences, conditions and samples as figures that read without colour."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from emcheck.oracle.precision import Array
from studies.density.cell import RIVAL
from studies.density.report.differences import CONTROLS
from studies.density.report.load import Density, Record, decode
from studies.pages.style import house_style, plain_ticks, to_svg
from studies.pages.tidy import records

#: Line, marker and colour of the four compared flows; each alone tells them apart.
STYLES: dict[str, dict[str, Any]] = {
    "1x1": {"ls": "-", "marker": "o", "color": "#000000"},
    "1x1, matched parameters": {"ls": "--", "marker": "s", "color": "#0072B2"},
    "1x1, matched time": {"ls": ":", "marker": "^", "color": "#009E73"},
    RIVAL: {"ls": "-.", "marker": "D", "color": "#D55E00"},
}

#: Okabe and Ito's palette, with a brown.
_PALETTE = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999",
            "#7A4B1F")  # fmt: skip

#: What is shown of a flow, one row each.
_ROWS = ("samples", "nearest")

#: Samples are brightened until their mean is this; by a power of 0.4 at most.
_BRIGHT, _LEAST_POWER = 0.35, 0.4

#: Curves leave out the first steps, where all fall steeply.
_FROM = 0.15


def draw(density: Density, gaps: pd.DataFrame) -> dict[str, bytes]:
    """Every figure that the cells allow, by the name of its file."""
    with house_style():
        found: dict[str, Figure | None] = {
            "curves": _curves(density),
            "differences": differences_figure(gaps),
            "conditions": _conditions(density),
        }
        for data in sorted({record["cell"]["data"] for record in density.pictures.values()}):
            found[f"samples_{data}"] = _samples(density, data)
        return {name: to_svg(figure) for name, figure in found.items() if figure is not None}


def _settings(frame: pd.DataFrame) -> list[tuple[str, int]]:
    """Data and depth of every setting that has the emerging flow and a control."""
    core = frame[frame["variant"].isin(STYLES)]
    pairs = core[["data", "depth"]].drop_duplicates().sort_values(["data", "depth"])
    return [(str(row["data"]), int(row["depth"])) for row in records(pairs)]


def _panels(settings: list[tuple[str, int]], height: float = 2.1) -> tuple[Figure, list[Axes]]:
    columns = min(2, len(settings))
    rows = math.ceil(len(settings) / columns)
    figure = Figure(figsize=(3.3 * columns, height * rows), layout="constrained")
    axes = [figure.add_subplot(rows, columns, n + 1) for n in range(len(settings))]
    for place, (data, depth) in zip(axes, settings, strict=True):
        place.set_title(f"{data}, depth {depth}")
        place.grid(True)
    return figure, axes


def _curves(density: Density) -> Figure | None:
    """Validation bits per dimension over steps: mean over seeds, and the range of seeds."""
    settings = _settings(density.curves)
    if not settings:
        return None
    figure, axes = _panels(settings)
    for place, (data, depth) in zip(axes, settings, strict=True):
        here = density.curves
        here = here[(here["data"] == data) & (here["depth"] == depth)]
        here = here[here["step"] >= _FROM * here["step"].max()]
        for variant, style in STYLES.items():
            rows = here[here["variant"] == variant].groupby("step")["valid"]
            if not rows.ngroups:
                continue
            mean, low, high = rows.mean(), rows.min(), rows.max()
            place.fill_between(mean.index, low, high, color=style["color"], alpha=0.12, lw=0)
            place.plot(mean.index, mean, label=variant, mfc="white", ms=3, **style)
        place.set_xlabel("step")
        place.set_ylabel("validation bits/dim")
    axes[0].legend(frameon=False, fontsize=7)
    return figure


def differences_figure(gaps: pd.DataFrame) -> Figure | None:
    """Emerging minus control with both intervals; left of 0 the emerging flow is better."""
    drawn = gaps[gaps["low"].notna()] if len(gaps) else gaps
    if not len(drawn):
        return None
    figure = Figure(figsize=(6.4, 0.24 * len(drawn) + 0.9), layout="constrained")
    axes = figure.add_subplot()
    names = []
    for place, row in enumerate(records(drawn)):
        style = STYLES[str(row["control"])]
        axes.plot([row["t_low"], row["t_high"]], [place] * 2, color=style["color"], lw=0.8)
        axes.plot([row["low"], row["high"]], [place] * 2, color=style["color"], lw=3)
        axes.plot([row["difference"]], [place], style["marker"], mfc="white", color=style["color"])
        names.append(f"{row['data']}, depth {row['depth']}, minus {row['control']}")
    axes.axvline(0, color="black", lw=0.8)
    axes.set_yticks(range(len(names)), names, size=7)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel("difference of test bits/dim (left of 0: emerging is better)")
    axes.grid(True, axis="x")
    return figure


def _conditions(density: Density) -> Figure | None:
    """The worst condition number of a mixing layer over training, by variant."""
    frame = density.conditions
    frame = frame[(frame["depth"] == frame["depth"].max()) & (frame["seed"] == 0)]
    sets = sorted(frame["data"].unique())
    if not sets:
        return None
    figure, axes = _panels([(data, int(frame["depth"].max())) for data in sets], 2.3)
    plain = ~frame["variant"].str.contains("matched")
    names = sorted(frame.loc[plain, "variant"].unique())
    for place, data in zip(axes, sets, strict=True):
        rows = frame[(frame["data"] == data) & ~frame["variant"].str.contains("matched")]
        worst = rows.groupby(["variant", "step"])["condition"].max().unstack("variant")
        for variant in worst.columns:
            n = names.index(variant)  # the same line in every panel
            marker = "osD^v<>Xp"[n % 9]
            line = ["-", "--", "-.", ":"][n % 4]
            place.plot(worst.index, worst[variant], ls=line, marker=marker, color=_PALETTE[n % 9],
                       label=variant, mfc="white", ms=3.5)  # fmt: skip
        place.set_yscale("log")
        plain_ticks(place.yaxis)
        place.set_xlabel("step")
        place.set_ylabel("worst condition")
    named = max(axes, key=lambda place: len(place.get_lines()))
    figure.legend(handles=named.get_lines(), loc="outside lower center", frameon=False,
                  fontsize=7, ncols=5)  # fmt: skip
    return figure


def _samples(density: Density, data: str) -> Figure | None:
    """One row of samples and one of nearest training patches for each compared flow."""
    shown, power = _shown(density, data), brightening(density, data)
    if not shown:
        return None
    figure = Figure(figsize=(6.4, 1.75 * len(shown)), layout="constrained")
    for n, record in enumerate(shown):
        for m, name in enumerate(_ROWS):
            axes = figure.add_subplot(2 * len(shown), 1, 2 * n + m + 1)
            strip = _strip(decode(record[name]), record["bins"], power)
            axes.imshow(strip, interpolation="nearest", cmap="gray", vmin=0, vmax=1)
            axes.set_xticks([])
            axes.set_yticks([])
            what = record["cell"]["mixing"] if name == "samples" else "nearest patch"
            axes.set_ylabel(what, rotation=0, ha="right", va="center")
    return figure


def _shown(density: Density, data: str) -> list[Record]:
    return [
        record
        for variant in ("1x1", RIVAL)
        for record in density.pictures.values()
        if record["cell"]["data"] == data and _is(record, variant, density)
    ]


def brightening(density: Density, data: str) -> float:
    """Return the power, at most 1, to which the shown images of dark data are raised, all alike."""
    shown = _shown(density, data)
    means = [decode(r[name]).mean() / (r["bins"] - 1) for r in shown for name in _ROWS]
    if not means or not 0 < (mean := float(np.mean(means))) < _BRIGHT:
        return 1.0
    return max(_LEAST_POWER, round(math.log(_BRIGHT) / math.log(mean), 2))


def _is(record: Record, variant: str, density: Density) -> bool:
    cell = record["cell"]
    deepest = density.cells[density.cells["data"] == cell["data"]]["depth"].max()
    return cell["mixing"] == variant and not cell["control"] and cell["depth"] == deepest


def _strip(images: Array, bins: int, power: float) -> Array:
    """``(N, C, H, W)`` side by side with a white line between, ``(H, N W, 3)`` in [0, 1]."""
    bright = (images.astype(np.float64) / (bins - 1)) ** power
    edged = np.pad(bright, ((0, 0), (0, 0), (0, 0), (0, 1)), constant_values=1.0)
    strip = np.concatenate(list(edged), axis=2).transpose(1, 2, 0)
    return strip if strip.shape[2] == 3 else strip[..., 0]


def legend_of(control: str) -> str:
    """The line of a control in words, for captions."""
    names = {"-": "solid", "--": "dashed", ":": "dotted", "-.": "dash-dotted"}
    return names[STYLES[control]["ls"]]


CAPTION_LINES = ", ".join(f"{name} {legend_of(name)}" for name in (*CONTROLS, RIVAL))
