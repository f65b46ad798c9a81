"""Likelihood at equal time over the price of the inverse."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.figure import Figure

from studies.pages.markdown import number
from studies.pages.schema import Record
from studies.pages.style import house_style, plain_ticks, to_svg
from studies.pages.tidy import records

#: Points between the lowest and the highest mark, between two labels, between a label and a mark,
#: and the ratio of times from which labels stand beside each other.
_HEIGHT, _LINE, _MARK, _BESIDE = 170.0, 9.0, 7.0, 6.0


def draw(frame: pd.DataFrame) -> bytes:
    """Draw one mark for each mixing of which both were measured, as SVG."""
    with house_style():
        return to_svg(_figure(frame))


def _figure(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    known = frame[frame["inverse"].notna() & frame["equal_time"].notna()]
    marks = sorted(records(known), key=lambda row: float(row["equal_time"]))
    rights = _rights(marks)
    for row, right, rise in zip(marks, rights, _rises(marks, rights), strict=True):
        pixels = row["seen"] > 1
        axes.plot([row["inverse"]], [row["equal_time"]], "o" if pixels else "s",
                  color="#D55E00" if pixels else "#000000", mfc="white")  # fmt: skip
        label = f"{row['mixing']} ({number(row['condition'])})"
        shift, side = (5, "left") if right else (-5, "right")
        axes.annotate(label, (row["inverse"], row["equal_time"]), (shift, rise), ha=side,
                      va="center", textcoords="offset points", size=7)  # fmt: skip
    if not len(known):
        axes.text(0.5, 0.5, "not measured", ha="center", transform=axes.transAxes)
    else:
        axes.set_xscale("log")
        plain_ticks(axes.xaxis)
    axes.margins(0.28, 0.12)
    axes.grid(True)
    axes.set_xlabel("time of the inverse over the forward of a 1x1")
    axes.set_ylabel("test bits/dim at equal time")
    return figure


def _heights(marks: list[Record]) -> list[float]:
    """Where each mark stands, in points."""
    values = [float(row["equal_time"]) for row in marks]
    scale = _HEIGHT / ((max(values) - min(values)) or 1.0) if values else 1.0
    return [value * scale for value in values]


def _rights(marks: list[Record]) -> list[bool]:
    """Whether a label stands to the right of its mark.

    To the left stand those of squares, of the slowest mixing, which is near the frame, and of a
    circle that has another mark close to its right.
    """
    heights, slowest = _heights(marks), max((row["inverse"] for row in marks), default=0.0)
    return [
        row["seen"] > 1
        and row["inverse"] < slowest
        and not any(
            1 < other["inverse"] / row["inverse"] < _BESIDE and abs(height - there) < _MARK
            for other, there in zip(marks, heights, strict=True)
        )
        for row, height in zip(marks, heights, strict=True)
    ]


def _rises(marks: list[Record], rights: list[bool]) -> list[float]:
    """By how many points each label stands above its mark, so that none covers another or a mark.

    Marks are in the order of their heights.
    """
    heights = _heights(marks)
    rises: list[float] = []
    for n, (row, right) in enumerate(zip(marks, rights, strict=True)):
        there = []
        for m, other in enumerate(marks):
            beside = math.log(other["inverse"] / row["inverse"]) * (1 if right else -1)
            if m < n and rights[m] == right and abs(beside) < math.log(_BESIDE):
                there.append((heights[m] + rises[m], _LINE))
            if m != n and 0 < beside < math.log(_BESIDE):
                there.append((heights[m], _MARK))
        rise = 0.0
        for height, room in sorted(there):
            if abs(heights[n] + rise - height) < room:
                rise = height + room - heights[n]
        rises.append(rise)
    return rises
