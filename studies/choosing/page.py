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

#: Times of sampling, as shares of that of a flow with a 1x1, that differ by less are alike.
AS_FAST = 0.03


def page(frame: pd.DataFrame, bits: pd.DataFrame | None) -> str:
    """The whole page.

    Args:
        frame: one row for each mixing.
        bits: one row for each data set, way of matching and mixing; None where none was trained.
    """
    parts = [
        "# Which invertible convolution?",
        "Each row is a mixing layer of a flow, in place of Glow's 1x1 or behind it. Everything "
        "was measured with the code of this repository; what was not measured has a dash.",
        _situations(frame, bits),
        figure(
            "choosing",
            "Bits per dimension at equal training time (lower is better) over the time of the "
            "inverse, as a multiple of the forward of a 1x1 (further left is faster). Circles mix "
            "pixels, squares channels alone; the number beside a name is the worst condition "
            "number after training.",
        ),
        _reach(frame),
        _cost(frame),
        _learnt(frame, bits),
        "## Take it when",
        *(f"**{code(name)}**: {CANDIDATES[name].take}" for name in frame["mixing"]),
        f"The tables with all digits: {csv_link('choosing')}, {csv_link('choosing_bits')}",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _situations(frame: pd.DataFrame, bits: pd.DataFrame | None) -> str:
    """Which one, for three situations, from the numbers."""
    lines = [
        "- *Fast sampling*: " + _fastest(frame),
        "- *Best density at equal time*: " + _densest(bits),
        "- *Safe conditioning*: " + _safest(frame),
    ]
    if bits is not None:
        here = bits[bits["control"] == "time"]
        if (here["seeds"] >= FEWEST).sum() < len(frame) * here["data"].nunique():
            lines.append(
                f"\nSome mixings have fewer than {FEWEST} trainings on a data set: the last two "
                "lines may change."
            )
    return "## Which one\n\n" + "\n".join(lines)


def _fastest(frame: pd.DataFrame) -> str:
    row = best(frame, "sampling")
    if row is None:
        return "not measured."
    told = code(row["mixing"]) + _as_fast(frame, row)
    spatial = best(frame[frame["seen"] > 1], "sampling")
    if spatial is None or spatial["mixing"] == row["mixing"]:
        return f"{told}."
    return (
        f"{told}; of those that mix pixels {code(spatial['mixing'])}, in "
        f"{number(spatial['sampling'], 3)} times the time of a flow with a 1x1."
    )


def _as_fast(frame: pd.DataFrame, row: dict[str, Any]) -> str:
    """Which other mixings sample about as fast as the fastest."""
    near = frame.loc[frame["sampling"] <= row["sampling"] + AS_FAST, "mixing"]
    others = ", ".join(code(name) for name in near if name != row["mixing"])
    return f" (within {AS_FAST:.0%}: {others})" if others else ""


def _densest(bits: pd.DataFrame | None) -> str:
    """The best mixing on each data set, and those that three seeds do not tell apart from it."""
    if bits is None:
        return "not measured."
    told = []
    for data, group in bits[bits["control"] == "time"].groupby("data"):
        first = group[group["best_verdict"] == "itself"]
        if not len(first):
            told.append(f"on {data} no mixing has {FEWEST} trainings")
            continue
        row = records(first)[0]
        alike = group.loc[group["best_verdict"] == "undecided", "mixing"]
        others = f"; not told apart: {', '.join(map(code, alike))}" if len(alike) else ""
        told.append(f"on {data} {code(row['mixing'])} ({row['bits']:.3f} bits/dim{others})")
    return ", ".join(told) + "."


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
        "fewest threads, medians over processes. The cost of `1x1+exponential` grows with its "
        "weights, which are as large here as after training."
    )
    head = ["mixing", "forward", "inverse", "training step", "sampling"]
    return "\n\n".join(["## What it costs", told, table(head, rows)])


def _learnt(frame: pd.DataFrame, bits: pd.DataFrame | None) -> str:
    told = (
        "Test bits per dimension of flows that differ in the mixing alone, matched in training "
        "time or in parameters to the flow with `1x1+emerging`: the mean over seeds, and what it "
        "is more or less than that of `1x1`, with the interval of the paired difference (95%, "
        "Student's t)."
    )
    if bits is not None and (bits["seeds"] < FEWEST).any():
        told += f" A star marks what has fewer than {FEWEST} seeds, and therefore no interval."
    parts = ["## What it learns", told]
    if bits is not None:
        for control, group in bits.groupby("control", sort=False):
            parts += [f"### At equal {control}", _bits(group, frame)]
    rows = [
        [code(row["mixing"]), number(row["condition"]), number(row["round_trip"])]
        for row in records(frame)
    ]
    told = (
        "The worst condition number of a mixing after training, with a 1x1 in front that of both "
        "together, and the largest error of a float32 round trip in grey levels, over the "
        "trainings that all mixings have."
    )
    head = ["mixing", "condition", "round trip"]
    return "\n\n".join([*parts, "### How it behaves", told, table(head, rows)])


def _bits(bits: pd.DataFrame, frame: pd.DataFrame) -> str:
    """One line for each mixing, two columns for each data set."""
    sets = sorted(set(bits["data"]))
    kept = {(row["data"], row["mixing"]): row for row in records(bits)}
    rows = [
        [code(mixing), *(text for data in sets for text in _cells(kept.get((data, mixing))))]
        for mixing in frame["mixing"]
    ]
    return table(["mixing", *(name for data in sets for name in (data, "minus `1x1`"))], rows)


def _cells(row: dict[str, Any] | None) -> tuple[str, str]:
    if row is None:
        return "–", "–"
    value = f"{row['bits']:.4f}" + ("\\*" if row["seeds"] < FEWEST else "")
    if pd.isna(row["base_difference"]) or row["base_verdict"] == "itself":
        return value, "–"
    gap = f"{row['base_difference']:+.4f}"
    if pd.isna(row["base_low"]):
        return value, f"{gap}\\*"
    return value, f"{gap} [{row['base_low']:+.4f}, {row['base_high']:+.4f}]"
