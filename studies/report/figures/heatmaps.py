"""The two matrices: checks against layers, and faults against checks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from studies.pages.tidy import records
from studies.report.faults import FLAGGED, NOT_JUDGED, PASSED, families_of_killers

_SQUARE = 0.19  # inches a square


@dataclass(frozen=True)
class Sign:
    """How a value is drawn: the colour of its square and a mark that needs no colour."""

    face: str
    marker: str = ""
    ink: str = "black"


#: What a check found at its worst, as a share of its threshold: the end of a class and its square.
SHARES: dict[str, tuple[float, Sign]] = {
    "exact, or a yes": (0.0, Sign("#F4F8FB")),
    "up to 0.001": (1e-3, Sign("#D3E4EE")),
    "up to 0.01": (1e-2, Sign("#A8CFE6")),
    "up to 0.1": (1e-1, Sign("#6BA9CF")),
    "up to 0.5": (0.5, Sign("#2F7FB0")),
    "up to 1": (1.0, Sign("#00466E")),
}

#: Marks of the other verdicts, on top of the square.
VERDICT_SIGNS: dict[str, Sign] = {
    "FAIL": Sign("#000000", "X", "white"),
    "XPASS": Sign("#000000", "P", "white"),
    "ILL-CONDITIONED": Sign("#F5D98B", "$i$"),
    "NOTE": Sign("#F5D98B", "$n$"),
    "UNSUPPORTED": Sign("#E4E4E4", "_"),
    "XFAIL": Sign("#E4E4E4", "x"),
    "NOT RUN": Sign("#FFFFFF", "."),
}

KILL_SIGNS: dict[str, Sign] = {
    FLAGGED: Sign("#00466E"),
    PASSED: Sign("#D3E4EE"),
    NOT_JUDGED: Sign("#FFFFFF", ".", "#888888"),
}

USUAL_SIGNS: dict[str, Sign] = {
    FLAGGED: Sign("#D55E00"),
    PASSED: Sign("#F7E2D4"),
    NOT_JUDGED: Sign("#FFFFFF", ".", "#888888"),
}


def _canvas(rows: Sequence[str], columns: Sequence[str]) -> tuple[Figure, Axes]:
    """Axes of square cells, rows named on the left, columns upright on top."""
    figure = Figure(figsize=(_SQUARE * max(len(columns), 1), _SQUARE * max(len(rows), 1)))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    _name_cells(axes, rows, columns)
    return figure, axes


def _name_cells(axes: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    axes.set_xlim(0, len(columns))
    axes.set_ylim(len(rows), 0)
    axes.set_xticks([i + 0.5 for i in range(len(columns))], columns, rotation=90, size=7)
    axes.set_yticks([i + 0.5 for i in range(len(rows))], rows, size=7)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)


def _strip(
    figure: Figure, axes: Axes, column: str, values: Mapping[str, str], signs: Mapping[str, Sign]
) -> None:
    """One column set apart between the names of the rows and the matrix; row -> value."""
    width = 1 / axes.get_xlim()[1]
    strip = figure.add_axes((-1.6 * width, 0.0, width, 1.0))
    _name_cells(strip, list(values), [column])
    strip.get_xticklabels()[0].set_fontweight("bold")
    _fill(strip, [[value] for value in values.values()], signs)
    axes.tick_params(labelleft=False)


def _fill(axes: Axes, values: Sequence[Sequence[str]], signs: Mapping[str, Sign]) -> None:
    """Squares (neighbours of one value as one bar), then white lines, then the marks."""
    marks: dict[str, list[tuple[float, float]]] = {}
    for y, row in enumerate(values):
        for value, run in itertools.groupby(enumerate(row), key=lambda item: item[1]):
            places = [x for x, _ in run]
            if value not in signs:
                continue
            axes.broken_barh([(places[0], len(places))], (y, 1), facecolors=signs[value].face)
            marks.setdefault(value, []).extend((x + 0.5, y + 0.5) for x in places)
    for x in range(len(values[0]) + 1):
        axes.axvline(x, color="white", lw=0.8)
    for y in range(len(values) + 1):
        axes.axhline(y, color="white", lw=0.8)
    for value, points in sorted(marks.items()):
        sign = signs[value]
        if sign.marker:
            xs, ys = zip(*points, strict=True)
            axes.plot(xs, ys, ls="", marker=sign.marker, color=sign.ink, ms=5, mew=1)


def _key(sign: Sign, label: str) -> list[Line2D]:
    """A legend entry: the square, with its mark where it has one."""
    square = Line2D([], [], ls="", marker="s", ms=9, mfc=sign.face, mec="#555555", label=label)
    mark = Line2D([], [], ls="", marker=sign.marker or "None", color=sign.ink, ms=5)
    return [square, mark]


def _legend(axes: Axes, entries: Sequence[tuple[Sequence[Line2D], str]], columns: int) -> None:
    axes.legend(
        [tuple(handles) for handles, _ in entries],
        [label for _, label in entries],
        loc="upper left",
        bbox_to_anchor=(0, 0),
        bbox_transform=axes.transAxes,
        borderaxespad=0.6,
        ncols=columns,
        frameon=False,
    )


def verdict_figure(matrix: pd.DataFrame, shares: pd.DataFrame) -> Figure:
    """Checks x layers: the worst share of the threshold, or another verdict than PASS.

    Args:
        matrix: as :func:`studies.report.verdicts.verdict_matrix` returns it.
        shares: as :func:`studies.report.verdicts.share_matrix` returns it.
    """
    layers = [column for column in matrix.columns if column not in ("family", "check")]
    figure, axes = _canvas(matrix["check"].tolist(), layers)
    verdicts, numbers = matrix[layers].to_numpy(), shares[layers].to_numpy(float)
    values = [
        [_class(verdict, share) for verdict, share in zip(*row, strict=True)]
        for row in zip(verdicts, numbers, strict=True)
    ]
    signs = {name: sign for name, (_, sign) in SHARES.items()} | VERDICT_SIGNS
    _fill(axes, values, signs)
    start = 0
    for family, rows in matrix.groupby("family", sort=False):
        if start:
            axes.axhline(start, color="black", lw=1)
        middle = start + len(rows) / 2
        title = str(family).replace("_", " ").upper()
        axes.text(len(layers) + 0.3, middle, title, va="center", size=7, weight="bold")
        start += len(rows)
    present = {value for row in values for value in row}
    entries = [(_key(sign, name), name) for name, sign in signs.items() if name in present]
    _legend(axes, entries, 3)
    return figure


def _class(verdict: str, share: float) -> str:
    """The name of a square: its verdict if it is not PASS, else the class of its share."""
    if verdict != "PASS":
        return verdict
    share = 0.0 if math.isnan(share) else share
    return next(name for name, (end, _) in SHARES.items() if share <= end)


def kill_figures(matrix: pd.DataFrame, kills: pd.DataFrame) -> dict[str, Figure]:
    """Faults x checks, one figure for each family of named checks.

    A row has the checks of the family, each with a ring where it is the one named for the fault,
    then how many other checks saw the fault, and what the usual test of flow libraries says.
    """
    checks = [str(column) for column in matrix.columns if column != "fault"]
    killer = matrix["fault"].map(kills.set_index("fault")["killer"])
    return {
        family: _kill_figure(matrix[killer.isin(own)], own, kills)
        for family, own in families_of_killers(kills, checks).items()
    }


def _kill_figure(matrix: pd.DataFrame, own: list[str], kills: pd.DataFrame) -> Figure:
    faults = matrix["fault"].tolist()
    figure, axes = _canvas(faults, own)
    _fill(axes, matrix[own].to_numpy().tolist(), KILL_SIGNS)
    others = (matrix.drop(columns=["fault", *own]) == FLAGGED).sum(axis=1)
    for at, count in enumerate(others):
        axes.text(len(own) + 0.6, at + 0.5, str(count), ha="center", va="center", size=7)
    axes.text(len(own) + 0.6, -0.3, "by others", rotation=90, ha="center", va="bottom", size=7)
    for row in records(kills[kills["fault"].isin(faults)]):
        if row["killer"] not in own:
            continue
        place = [own.index(row["killer"]) + 0.5], [faults.index(row["fault"]) + 0.5]
        ink = "white" if row["killed"] else "black"
        axes.plot(*place, ls="", marker="o", mfc="none", mec=ink, ms=7, mew=1.2)
        if not row["killed"]:
            axes.plot(*place, ls="", marker="x", color="black", ms=5, mew=1.2)
    usual = kills.set_index("fault")["usual_test"].reindex(faults)
    entries = _kill_entries()
    if (kills["usual_test"] != NOT_JUDGED).any():
        _strip(figure, axes, "usual test", {fault: usual[fault] for fault in faults}, USUAL_SIGNS)
        entries += [
            (_key(USUAL_SIGNS[FLAGGED], ""), "seen by the usual test"),
            (_key(USUAL_SIGNS[PASSED], ""), "missed by it"),
        ]
    _legend(axes, entries, 1)
    return figure


def _kill_entries() -> list[tuple[Sequence[Line2D], str]]:
    ring = Line2D([], [], ls="", marker="o", mfc="none", mec="white", ms=5, mew=1.2)
    survived = Line2D([], [], ls="", marker="x", color="black", ms=5, mew=1.2)
    return [
        ([*_key(KILL_SIGNS[FLAGGED], "")[:1], ring], "flagged by the named check: killed"),
        (_key(KILL_SIGNS[FLAGGED], ""), "flagged by another check"),
        (_key(KILL_SIGNS[PASSED], ""), "passed"),
        (_key(KILL_SIGNS[NOT_JUDGED], ""), "not judged"),
        ([*_key(KILL_SIGNS[PASSED], "")[:1], survived], "named check did not flag: survived"),
    ]
