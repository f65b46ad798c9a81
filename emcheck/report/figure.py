"""One picture of results: how close every check came to its bound."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from emcheck._internal.extras import extra_named
from emcheck.ok import spoils
from emcheck.result import Result, excess

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: An error below this share of its bound is drawn at this share.
_LEAST = 1e-8

#: The marker of each dtype; results that spoil the report are red.
_MARKERS = {"float32": "o", "float64": "s"}


def figure_of(title: str, results: Sequence[Result]) -> Figure:
    """Plot error over bound by check, on a logarithmic scale; right of 1 a check has failed.

    A check that answers yes or no is drawn at the right edge if it failed, else left out.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    with extra_named():
        from matplotlib.figure import Figure

    class Picture(Figure):
        """A figure that a notebook shows without pyplot."""

        def _repr_svg_(self) -> str:
            drawn = io.StringIO()
            self.savefig(drawn, format="svg")
            return drawn.getvalue()

    found = [(r, _share(r), spoils(r.check, r.verdict, r.unfinished)) for r in results]
    drawn = [(r, share, failed) for r, share, failed in found if failed or not math.isnan(share)]
    names = list(dict.fromkeys(result.check for result, _, _ in drawn))
    most = max([10.0, *(3 * share for _, share, _ in drawn if math.isfinite(share))])
    figure = Picture(figsize=(7.5, 1.4 + 0.21 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(1.0, color="0.4", linewidth=1)
    for result, share, failed in drawn:
        at = min(max(share, _LEAST), most) if share < math.inf else most
        colour = "tab:red" if failed else "tab:blue"
        marker = _MARKERS.get(result.dtype, "o")
        face = colour if failed else "white"
        axes.plot(at, names.index(result.check), marker, mfc=face, mec=colour, markersize=6)
    for dtype, marker in _MARKERS.items():
        axes.plot([], [], marker, mfc="white", mec="0.3", label=dtype)
    axes.set(xscale="log", xlim=(_LEAST / 2, most * 2), xlabel="error / bound; fails above 1")
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="y", color="0.93")
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower left", fontsize=8, ncols=2, frameon=False)
    axes.set_title(title, fontsize=10, loc="left")
    return figure


def _share(result: Result) -> float:
    """Return error over threshold; NaN if the check measures no error."""
    if math.isnan(result.ratio) or result.threshold <= 0:
        return math.nan
    return excess(result.ratio, result.threshold)
