"""The section and the figure about longer training."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from studies.density.cell import RIVAL, Cell
from studies.density.plans import budget as budget_plan
from studies.density.report.budget import (
    EXPONENTS,
    FLATTENED,
    HEADLINE,
    Trend,
    flattening,
    seed_gaps,
    trends,
)
from studies.density.report.differences import LEVEL, differences
from studies.density.report.figures import STYLES
from studies.density.report.load import Density, variant
from studies.pages.markdown import code, csv_link, figure, plural, table
from studies.pages.style import house_style, to_svg
from studies.pages.tidy import records


def budget_section(density: Density) -> str:
    """Verdict, gaps, fits and flattening, and what of the plan is still to be trained."""
    gaps = differences(density)
    cells = density.trained[density.trained["variant"].isin(STYLES)]
    parts = [
        "## Does the gain last when training is long?",
        f"{plural(len(cells), 'training')} of depth {cells['depth'].max()}, whose learning rate "
        "falls to zero along a cosine over the whole training, each budget twice the last. A "
        "flow that is matched in time has more steps than the budget names. A flow has flattened "
        f"if doubling its budget changes its validation by less than {FLATTENED:g} bits/dim; "
        "this was fixed before anything was trained." + _left(density),
        _gaps(gaps),
        figure(
            "density_budget",
            f"Test bits/dim of {RIVAL} minus a control, over the budget: below 0 the emerging "
            f"flow is better. Points: means over seeds with {LEVEL:.0%} intervals of Student's t, "
            "small dots: single seeds. Lines: the two fits of the control of equal time.",
        ),
        _fits(trends(density)),
        _flattening(density),
        f"All trainings: {csv_link('density_budget')}",
    ]
    return "\n\n".join(part for part in parts if part)


def _left(density: Density) -> str:
    """Which trainings of the plan are missing, in one sentence."""
    have = {
        (row["data"], row["budget"], row["variant"], row["seed"]) for row in records(density.cells)
    }
    plan = budget_plan()
    left = [cell for cell in plan if _key(cell) not in have]
    if not left:
        return ""
    budgets = sorted({cell.budget for cell in left})
    return (
        f" **The sweep is not finished**: {len(plan) - len(left)} of {len(plan)} trainings are "
        f"done; missing are some of {', '.join(f'{budget:,}' for budget in budgets)} steps."
    )


def _key(cell: Cell) -> tuple[str, int, str, int]:
    return cell.data, cell.budget, variant(cell.to_json()), cell.seed


def _gaps(gaps: pd.DataFrame) -> str:
    rows = [
        [row["data"], code(row["control"]), f"{row['budget']:,}", row["seeds"],
         f"{row['difference']:+.4f}",
         "–" if math.isnan(row["t_low"]) else f"[{row['t_low']:+.4f}, {row['t_high']:+.4f}]",
         row["verdict"]]
        for row in records(gaps.sort_values(["data", "control", "budget"]))
    ]  # fmt: skip
    head = ["data", "control", "budget", "seeds", "difference", "Student's t", "verdict"]
    return table(head, rows, left=2) if rows else "No pair was trained."


def _fits(found: list[Trend]) -> str:
    if not found:
        return "There are too few budgets to fit a trend."
    rows = [
        [trend.data, code(trend.control), f"{trend.exponent:g}",
         f"{trend.change:+.4f} [{trend.change_low:+.4f}, {trend.change_high:+.4f}]",
         f"{trend.limit:+.4f} [{trend.limit_low:+.4f}, {trend.limit_high:+.4f}]"]
        for trend in found
    ]  # fmt: skip
    powers = " and ".join(f"{p:g}" for p in EXPONENTS)
    told = (
        "The gap is fitted as `limit + change (N_0 / N)^p` over budgets `N`, for each seed by "
        f"least squares, with p = {powers}, because how fast it approaches its limit is not known. "
        "The gaps of one seed at several budgets are alike, so the intervals are those of "
        "Student's t over the fits of the seeds. The gain *shrinks* if the interval of `change` "
        "lies below 0 for both; it *lasts* if neither says so, both intervals of `limit` lie below "
        "0, and so do those of the gap at the largest budget; else it cannot be told."
    )
    return told + "\n\n" + table(["data", "control", "p", "change", "limit"], rows, left=2)


def _flattening(density: Density) -> str:
    found = flattening(density)
    rows = [
        [row["data"], code(row["variant"]), f"{row['budget']:,} to {row['doubled']:,}",
         f"{row['change']:+.4f}", "yes" if abs(row["change"]) < FLATTENED else "no"]
        for row in records(found)
    ]  # fmt: skip
    head = ["data", "flow", "budgets", "change of validation", "flattened"]
    return table(head, rows, left=2) if rows else ""


def draw_budget(density: Density) -> bytes:
    """Draw the gap over the budget, one panel for each data set, as SVG."""
    with house_style():
        return to_svg(_figure(density))


def _figure(density: Density) -> Figure:
    gaps, seeds, found = differences(density), seed_gaps(density), trends(density)
    names = sorted(set(gaps["data"]))
    drawn = Figure(figsize=(3.3 * len(names), 2.5), layout="constrained")
    for n, data in enumerate(names):
        axes = drawn.add_subplot(1, len(names), n + 1)
        rows = gaps[gaps["data"] == data]
        for m, (control, group) in enumerate(rows.groupby("control", sort=True)):
            style, shift = STYLES[str(control)], 1.04 ** (m - 1)  # beside each other
            reach = (group["t_high"] - group["difference"]).fillna(0)
            axes.errorbar(group["budget"] * shift, group["difference"], reach, fmt=style["marker"],
                          color=style["color"], mfc="white", lw=0.8,
                          label=f"minus {control}")  # fmt: skip
            dots = seeds[(seeds["data"] == data) & (seeds["control"] == control)]
            axes.plot(dots["budget"] * shift, dots["gap"], ".", ms=2, color=style["color"])
        smallest, largest = gaps["budget"].min(), gaps["budget"].max()
        line = np.geomspace(smallest, largest, 50)
        for trend in found:
            if (trend.data, trend.control) == (data, HEADLINE):
                axes.plot(line, trend.at(line, smallest), color=STYLES[HEADLINE]["color"], lw=0.8,
                          ls="-" if trend.exponent == EXPONENTS[0] else "--")  # fmt: skip
        axes.axhline(0, color="black", lw=0.6)
        axes.set_xscale("log", base=2)
        axes.set_xlim(smallest / 1.25, largest * 1.25)
        every = sorted(set(gaps["budget"]))
        axes.set_xticks(every, [f"{budget:,}" for budget in every])
        axes.minorticks_off()
        axes.grid(True, axis="y")
        axes.set_title(data)
        axes.set_xlabel("steps of the emerging flow")
        axes.set_ylabel("bits/dim, emerging minus control")
    drawn.legend(*axes.get_legend_handles_labels(), loc="outside lower center", frameon=False,
                 fontsize=7, ncols=3)  # fmt: skip
    return drawn
