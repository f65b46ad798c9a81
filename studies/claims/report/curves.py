"""Curves of claims d, f and g."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from studies.claims.report.load import Told

#: Each of line, marker and colour alone tells a curve from the others of its panel.
_FIRST: dict[str, Any] = {"ls": "-", "marker": "o", "color": "#D55E00", "ms": 3}
_SECOND: dict[str, Any] = {"ls": "--", "marker": "s", "color": "#0072B2", "ms": 3}
_THIRD: dict[str, Any] = {"ls": ":", "marker": "^", "color": "#000000", "ms": 3}
_BOUND: dict[str, Any] = {"ls": "-", "color": "#777777", "lw": 0.8}


def cells(told: Told) -> Figure:
    """Shares that PLU and QR reach, a fit outside of the cell, and what it costs."""
    figure = Figure(figsize=(8.6, 2.6), layout="constrained")
    shares, fit, price = figure.subplots(1, 3)
    frame = told.tables["shares"]
    for name, style in (("PLU", _FIRST), ("QR", _SECOND)):
        rows = frame[frame["parametrisation"] == name]
        reach = [rows["share"] - rows["low"], rows["high"] - rows["share"]]
        shares.errorbar(rows["channels"], rows["share"], yerr=reach, label=name, **style)
    plu = frame[frame["parametrisation"] == "PLU"]
    shares.plot(plu["channels"], plu["expected"], label="1/2^C", **_BOUND)
    _log(shares, "channels C", "share of Gaussian matrices")
    shares.set_yscale("log", base=2)
    runs = told.tables["fits"]
    runs = runs[runs["target"] == "rotation"]
    for name, style in (("PLU", _FIRST), ("QR", _SECOND), ("dense", _THIRD)):
        rows = runs[runs["parametrisation"] == name]
        fit.plot(rows["step"], rows["loss"], markevery=4, label=name, **style)
    _log(fit, "step", "squared distance to the target")
    fit.set_ylim(bottom=1e-8)  # what arrives leaves the panel
    rows = runs[runs["parametrisation"] == "PLU"]
    for column, label, style in (("condition_L", "L of PLU", _FIRST),
                                 ("condition_U", "U of PLU", _SECOND),
                                 ("condition_W", "W of PLU", _THIRD)):  # fmt: skip
        price.plot(rows["step"], rows[column], markevery=4, label=label, **style)
    _log(price, "step", "condition number")
    return figure


def swap(told: Told) -> Figure:
    """Condition and float32 round trip on the way to a channel swap."""
    frame = told.tables["price"]
    figure = Figure(figsize=(6.4, 2.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(frame["distance"], frame["condition_second"], label="second convolution", **_FIRST)
    left.plot(frame["distance"], frame["least"], label="least possible, (1 - d) / d", **_BOUND)
    left.plot(frame["distance"], frame["condition_W"], label="the 1x1 itself", **_SECOND)
    right.plot(frame["distance"], frame["float32_round_trip"], label="float32", **_FIRST)
    for axes, label in ((left, "condition number"), (right, "relative round-trip error")):
        axes.set_xscale("log")
        axes.invert_xaxis()
        _log(axes, "distance d to the swap (falls to the right)", label)
    return figure


def conditions(told: Told) -> Figure:
    """Two kernels with log-det 0 against image size, and what the sufficient test promises."""
    figure = Figure(figsize=(8.6, 2.6), layout="constrained")
    condition, trip, promise = figure.subplots(1, 3)
    frame = told.tables["sizes"]
    for taps, style in zip(sorted(frame["neighbours"].unique()), (_FIRST, _SECOND), strict=False):
        rows = frame[frame["neighbours"] == taps]
        label = f"neighbours {taps:+g}"
        condition.plot(rows["size"], rows["condition"], label=label, **style)
        trip.plot(rows["size"], rows["float32_round_trip"], label=label, **style)
    worst = told.tables["complaint"]
    condition.plot(worst["size"], worst["condition"], label="published weights", **_THIRD)
    _log(condition, "side of the image", "condition number")
    _log(trip, "side of the image", "float32 round-trip error")
    certified = told.tables["certified"]
    ratio = certified["condition"] / certified["promised"]
    promise.plot(certified["rho"], ratio, "o", mfc="white", mec="#D55E00", ms=3)
    promise.axhline(1, color="black", lw=0.8)
    promise.set_ylim(0, 1.1)
    promise.set_xlabel("rho = sum ||W0^-1 W_a|| of a random layer")
    promise.set_ylabel("condition over promised bound")
    promise.set_xticks(np.linspace(0, 1, 6))
    promise.grid(True)
    return figure


def _log(axes: Axes, x: str, y: str) -> None:
    axes.set_yscale("log")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(True)
    axes.legend(frameon=False, fontsize=6)
