"""choosing.md: three situations first, then the table, then a paragraph for each mixing."""

from __future__ import annotations

from typing import Any

import pandas as pd

from studies.choosing.candidates import CANDIDATES
from studies.choosing.kernels import CHANNELS, SIDE
from studies.choosing.table import best
from studies.density.report.differences import FEWEST
from studies.pages.markdown import code, csv_link, figure, number, table
from studies.pages.tidy import records

#: Bits per dimension that two mixings must differ by to be told apart here.
ALIKE = 0.01

#: The same for the time of sampling, as a share of that of a flow with a 1x1.
AS_FAST = 0.03


def page(frame: pd.DataFrame) -> str:
    """The whole page."""
    parts = [
        "# Which invertible convolution?",
        "Each row is a mixing layer of a flow, in place of Glow's 1x1 or behind it. Everything "
        "was measured with the code of this repository; what was not measured has a dash.",
        _situations(frame),
        figure(
            "choosing",
            "Bits per dimension at equal training time (lower is better) over the time of the "
            "inverse, as a multiple of the forward of a 1x1 (further left is faster). Circles mix "
            "pixels, squares channels alone; the number beside a name is the worst condition "
            "number after training.",
        ),
        _reach(frame),
        _cost(frame),
        _learnt(frame),
        "## Take it when",
        *(f"**{code(name)}**: {CANDIDATES[name].take}" for name in frame["mixing"]),
        f"The table with all digits: {csv_link('choosing')}",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _situations(frame: pd.DataFrame) -> str:
    """Which one, for three situations, from the numbers."""
    lines = [
        "- *Fast sampling*: " + _fastest(frame),
        "- *Best density at equal time*: " + _densest(frame),
        "- *Safe conditioning*: " + _safest(frame),
    ]
    if (frame["trainings"] < FEWEST).any():
        lines.append(
            f"\nSome mixings have fewer than {FEWEST} trainings: the last two lines may change."
        )
    return "## Which one\n\n" + "\n".join(lines)


def _fastest(frame: pd.DataFrame) -> str:
    row = best(frame, "sampling")
    if row is None:
        return "not measured."
    told = code(row["mixing"]) + _within(frame, row, "sampling", AS_FAST, f"{AS_FAST:.0%}")
    spatial = best(frame[frame["seen"] > 1], "sampling")
    if spatial is None or spatial["mixing"] == row["mixing"]:
        return f"{told}."
    return (
        f"{told}; of those that mix pixels {code(spatial['mixing'])}, in "
        f"{number(spatial['sampling'], 3)} times the time of a flow with a 1x1."
    )


def _within(
    frame: pd.DataFrame, row: dict[str, Any], column: str, margin: float, words: str
) -> str:
    """Which other mixings come within a margin of the best one."""
    near = frame[frame[column] <= row[column] + margin]["mixing"].tolist()
    others = ", ".join(code(name) for name in near if name != row["mixing"])
    return f" (within {words}: {others})" if others else ""


def _densest(frame: pd.DataFrame) -> str:
    row = best(frame, "equal_time")
    if row is None:
        return "not measured."
    alike = _within(frame, row, "equal_time", ALIKE, f"{ALIKE:g} bits/dim")
    return f"{code(row['mixing'])}, {row['equal_time']:.3f} bits/dim{alike}."


def _safest(frame: pd.DataFrame) -> str:
    spatial = frame[frame["seen"] > 1]
    row = best(spatial, "condition")
    if row is None or spatial["condition"].notna().sum() < 2:
        return "not measured."
    worst = spatial.nlargest(1, "condition")["condition"].iloc[0]
    return (
        f"of those that mix pixels {code(row['mixing'])}, whose condition number stayed below "
        f"{number(row['condition'] * 1.01)}; the worst of the others reached {number(worst)}."
    )


def _reach(frame: pd.DataFrame) -> str:
    rows = [
        [code(row["mixing"]), row["parameters"],
         "not affine" if pd.isna(row["dimension"]) else row["dimension"],
         row["seen"], row["seen_by_inverse"], CANDIDATES[row["mixing"]].logdet,
         CANDIDATES[row["mixing"]].inverse]
        for row in records(frame)
    ]  # fmt: skip
    told = (
        f"With {CHANNELS} channels on a {SIDE}x{SIDE} image, at parameters like those after "
        "training. *Dimension* is the number of independent directions in which the response to "
        "one pixel can move (the rank of its derivative); fewer than the parameters means that "
        "some of them do the same. *Sees* counts the pixels that one pixel of the output, or of "
        "the inverse, depends on."
    )
    head = ["mixing", "parameters", "dimension", "sees", "inverse sees", "log-det", "inverse"]
    return "\n\n".join(["## What it reaches", told, table(head, rows)])


def _cost(frame: pd.DataFrame) -> str:
    columns = ("forward", "inverse", "training_step", "sampling")
    rows = [
        [code(row["mixing"]), *(number(row[column]) for column in columns)]
        for row in records(frame)
    ]
    told = (
        "Multiples of the forward of a 1x1 (first two columns, batch 32, mean over the sizes of "
        "the contest, log-det included) and of a whole flow with a 1x1 (last two), on a CPU, "
        "fewest threads, medians over processes."
    )
    head = ["mixing", "forward", "inverse", "training step", "sampling"]
    return "\n\n".join(["## What it costs", told, table(head, rows)])


def _learnt(frame: pd.DataFrame) -> str:
    rows = [
        [code(row["mixing"]), _bits(row["equal_time"]), _bits(row["equal_parameters"]),
         number(row["condition"]), number(row["round_trip"]), f"{row['trainings']:.0f}"
         if row["trainings"] > 0 else "–"]
        for row in records(frame)
    ]  # fmt: skip
    told = (
        "Test bits per dimension of flows that differ in the mixing alone, matched in training "
        "time or in parameters to the flow with `1x1+emerging`: means over the data sets and "
        "seeds that all mixings have. Then the worst condition number of a mixing layer after "
        "training, the largest error of a float32 round trip in grey levels, and the number of "
        "trainings at equal time."
    )
    head = ["mixing", "equal time", "equal parameters", "condition", "round trip", "trainings"]
    return "\n\n".join(["## What it learns", told, table(head, rows)])


def _bits(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.4f}"
