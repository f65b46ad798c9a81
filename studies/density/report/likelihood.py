"""What the flows reach: bits per dimension, differences, depth, and the paper's numbers."""

from __future__ import annotations

import math

import pandas as pd

from studies.density.cell import RIVAL
from studies.density.report.differences import LEVEL, later_seeds
from studies.density.report.load import FLAT, Density
from studies.density.report.paper import PAPER
from studies.pages.markdown import code, figure, plural, table
from studies.pages.tidy import records

#: name -> what it is in the table.
_OTHERS = {
    "gaussian": "Gaussian, full covariance",
    "png_sheet": "PNG, all patches one sheet",
    "png_each": "PNG, a file for each patch",
    "uniform": "uniform",
}


def likelihood(density: Density, gaps: pd.DataFrame, figures: list[str]) -> list[str]:
    """The sections about likelihood, in the order of the page."""
    return [
        _bits(density),
        _losing(density),
        _gaps(density, gaps, figures),
        _depth(gaps),
        _paper(density),
    ]


def _bits(density: Density) -> str:
    parts = ["## Test bits per dimension"]
    cells = density.trained
    parts.append(
        "Lower is better. Mean over seeds ± standard deviation (one seed: marked); in the second "
        "column the importance-weighted bound with 16 draws of the noise. *Wall s* is the time of "
        "training on a machine that other work shared: steps are matched by step times measured "
        "side by side (below), not by it."
    )
    head = ["variant", "bits/dim", "weighted", "seeds", "parameters", "steps", "wall s"]
    for (data, depth), group in cells.groupby(["data", "depth"], sort=True):
        rows = []
        for variant, found in sorted(
            group.groupby("variant"), key=lambda pair: pair[1]["test"].mean()
        ):
            seeds = len(found)
            spread = f" ± {found['test'].std():.4f}" if seeds > 1 else " (one seed)"
            rows.append(
                [
                    code(variant),
                    f"{found['test'].mean():.4f}{spread}",
                    f"{found['test_weighted'].mean():.4f}",
                    seeds,
                    f"{found['parameters'].iloc[0]:,}",
                    f"{found['steps'].iloc[0]:,}",
                    f"{found['train_seconds'].mean():.0f}",
                ]
            )
        base = density.baselines
        for row in records(base[base["data"] == data]) if len(base) else ():
            rows += [
                [label, f"{row[name]:.4f}", "", "", "", "", ""] for name, label in _OTHERS.items()
            ]
        about = {r["data"]: r["about"] for r in records(base)} if len(base) else {}
        images = f"Images: {about[data]}.\n\n" if data in about else ""
        parts += [f"### {data}, depth {depth}", images + table(head, rows)]
    return "\n\n".join(parts)


def _losing(density: Density) -> str:
    """In words: which flows lose to what is no flow, and what speaks for which reason."""
    cells, base = density.trained, density.baselines
    lines = [
        f"- {row['data']}, depth {depth}: {_lost(group, row[name])} lose to {label} "
        f"({row[name]:.4f}). {_reason(cells, group, row[name])}"
        for row in records(base)
        for name, label in _OTHERS.items()
        for depth, group in cells[cells["data"] == row["data"]].groupby("depth")
        if (group["test"] > row[name]).any()
    ]
    measured = set(base["data"]) if len(base) else set()
    absent = sorted(set(cells["data"]) - measured)
    parts = []
    if lines:
        parts.append("Lost to what is no flow, and the reason looked for:\n\n" + "\n".join(lines))
    elif measured:
        parts.append(f"Every flow beats all of these on {', '.join(sorted(measured))}.")
    if absent:
        parts.append(f"The Gaussian and PNG were not measured on {', '.join(absent)}.")
    return "\n\n".join(parts)


def _lost(group: pd.DataFrame, limit: float) -> str:
    """``3 of 20 trainings (`1x1`, `qr`)``."""
    worse = group[group["test"] > limit]
    names = ", ".join(code(name) for name in sorted(set(worse["variant"])))
    return f"{len(worse)} of {plural(len(group), 'training')} ({names})"


def _reason(cells: pd.DataFrame, group: pd.DataFrame, limit: float) -> str:
    """Too short, too shallow, or neither: what the other cells of the data set say."""
    worse = group[group["test"] > limit]
    early = worse[worse["last_valid"] > worse["best_valid"] + FLAT]
    if len(early):
        return (
            f"{len(early)} of them overfit: validation was best at step "
            f"{early['best_step'].median():g} (median; that is what is reported), and at the end "
            f"lay {(early['last_valid'] - early['train']).mean():.2f} bits/dim above training."
        )
    data, depth = worse["data"].iloc[0], worse["depth"].iloc[0]
    deeper = cells[(cells["data"] == data) & (cells["depth"] > depth)]
    told = (
        f"In the last quarter of their steps they still gained {worse['last_quarter'].mean():.3f} "
        f"bits/dim, and lack {(worse['test'] - limit).mean():.3f} (means)"
    )
    if len(deeper) and (deeper["test"] < limit).all():
        return f"{told}; all deeper flows beat it, so depth is what they lack."
    if worse["last_quarter"].mean() > FLAT:
        return f"{told}: training was too short to tell."
    return f"{told}: they have flattened above it."


def _gaps(density: Density, gaps: pd.DataFrame, figures: list[str]) -> str:
    parts = [
        "## Paired differences",
        f"Test bits/dim of {code(RIVAL)} minus a control with the same seed; negative: emerging is "
        f"better. {LEVEL:.0%} intervals of the mean over seeds, by bootstrap and by Student's t; "
        "the verdict needs both to lie on one side of 0. They hold for these test patches: what "
        "another test set would change is not in them.",
    ]
    if told := later_seeds(density):
        parts.append(told)
    head = [
        "data",
        "depth",
        "control",
        "seeds",
        "difference",
        "bootstrap",
        "Student's t",
        "verdict",
    ]
    rows = [
        [row["data"], row["depth"], code(row["control"]), row["seeds"],
         f"{row['difference']:+.4f}", _interval(row["low"], row["high"]),
         _interval(row["t_low"], row["t_high"]), row["verdict"]]
        for row in records(gaps)
    ]  # fmt: skip
    parts.append(table(head, rows) if rows else "No pair was trained.")
    if "differences" in figures:
        parts.append(
            figure(
                "density_differences",
                "Emerging minus control. Thick: bootstrap interval; thin: Student's t. What "
                "crosses the line at 0 is undecided.",
            )
        )
    return "\n\n".join(parts)


def _interval(low: float, high: float) -> str:
    return "–" if math.isnan(low) else f"[{low:+.4f}, {high:+.4f}]"


def _depth(gaps: pd.DataFrame) -> str:
    """How the gain over the plain 1x1 flow changes with depth."""
    lines = []
    for data, group in gaps.groupby("data", sort=True) if len(gaps) else ():
        plain = group[group["control"] == "1x1"].sort_values("depth")
        if len(plain) > 1:
            first, last = plain.iloc[0], plain.iloc[-1]
            lines.append(
                f"- {data}: {first['difference']:+.4f} at depth {first['depth']}, "
                f"{last['difference']:+.4f} at depth {last['depth']}"
            )
    if not lines:
        return ""
    told = "The paper's gain shrinks with depth; here, emerging minus 1x1 in bits/dim:"
    return "\n\n".join(["## The effect of depth", told, "\n".join(lines)])


def _paper(density: Density) -> str:
    names = ("1x1", RIVAL, "periodic")
    rows = [
        ["paper", setting, *(bits.get(n, "") for n in names)] for setting, bits in PAPER.items()
    ]
    for (data, depth), group in density.trained.groupby(["data", "depth"], sort=True):
        means = group.groupby("variant")["test"].mean()
        shown = [f"{means[n]:.3f}" if n in means else "" for n in names]
        rows.append(["here", f"{data}, D = {depth}", *shown])
    told = (
        "Bits per dimension are not comparable between data sets; the columns of one row are. "
        "The paper trains far larger flows, with couplings of width 512, far longer."
    )
    head = ["", "data and depth", *(code(n) for n in names)]
    return "\n\n".join(["## Beside the paper's numbers", told, table(head, rows, left=2)])
