"""density.md: the verdict in two sentences, then the evidence."""

from __future__ import annotations

import math

import pandas as pd

from emcheck.report.density.differences import LEVEL, RIVAL, verdict
from emcheck.report.density.figures import CAPTION_LINES
from emcheck.report.density.load import Density
from emcheck.report.density.paper import PAPER
from emcheck.report.markdown import code, csv_link, figure, number, plural, table
from emcheck.report.tidy import records

#: Improvement of the last quarter of the steps, in bits/dim, up to which a curve counts as flat.
FLAT = 0.01

#: Grey levels of a round trip up to which sampling counts as faithful: no pixel can change.
FAITHFUL = 0.5

#: name -> what it is in the table.
_OTHERS = {
    "gaussian": "Gaussian, full covariance",
    "png_sheet": "PNG, all patches one sheet",
    "png_each": "PNG, a file for each patch",
    "uniform": "uniform",
}


def page(density: Density, gaps: pd.DataFrame, figures: list[str]) -> str:
    """The whole page."""
    parts = [
        "# Is it better than a 1x1? A controlled density experiment",
        f"**{verdict(gaps)}**",
        _how(density),
        _bits(density),
        _losing(density),
        _gaps(gaps, figures),
        _depth(gaps),
        _paper(density),
        _curves(density, figures),
        _conditions(density, figures),
        _fidelity(density),
        _speed(density),
        _samples(figures),
        "## All tables\n\n"
        + "\n".join(
            f"- {csv_link('density_' + name)}"
            for name in ("baselines", "cells", "conditions", "curves", "differences", "step_ratios")
        ),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _trained(density: Density) -> pd.DataFrame:
    return density.cells[density.cells["diverged"] == ""]


def _how(density: Density) -> str:
    cells, machine = _trained(density), density.machine
    lost = density.cells[density.cells["diverged"] != ""]
    steps = cells["steps"]
    text = (
        f"{plural(len(cells), 'training')}, each {steps.min():,} to {steps.max():,} steps of 64 "
        f"patches and {cells['train_seconds'].min():.0f} to {cells['train_seconds'].max():.0f} "
        f"seconds on one thread ({machine.get('cpu', 'unknown')}, torch "
        f"{machine.get('torch', '?')}), two levels, couplings of width "
        f"{cells['width'].min()} (wider where parameters are matched). Adamax at "
        f"{cells['rate'].max():g} after a warm-up over {cells['warmup'].max()} steps, "
        "averaged weights, uniform dequantisation. Batches and noise depend on the seed alone, so "
        "all variants of a seed see the same; convolutions "
        f"start at the identity, so {code(RIVAL)} starts as {code('1x1')}, bit for bit: "
        f"{_nested(cells)}. Training, validation and test patches come from disjoint bands of "
        "the images, a patch apart (faces and digits: disjoint images). Test bits per dimension "
        "are of the averaged weights after the last step; nothing was chosen on the test set."
    )
    if len(lost):
        named = "; ".join(f"{r['data']} {r['variant']}: {r['diverged']}" for r in records(lost))
        text += f"\n\n**{plural(len(lost), 'training')} diverged:** {named}"
    return text


def _nested(cells: pd.DataFrame) -> str:
    first = cells.pivot_table(index=["data", "depth", "seed"], columns="variant", values="first")
    if RIVAL not in first or "1x1" not in first:
        return "no pair was trained"
    pair = first[[RIVAL, "1x1"]].dropna()
    same = int((pair[RIVAL] == pair["1x1"]).sum())
    return f"validation before the first step is the same number in {same} of {len(pair)} pairs"


def _bits(density: Density) -> str:
    parts = ["## Test bits per dimension"]
    cells = _trained(density)
    parts.append(
        "Lower is better. Mean over seeds ± standard deviation (one seed: marked); in the second "
        "column the importance-weighted bound with 16 draws of the noise."
    )
    head = ["variant", "bits/dim", "weighted", "seeds", "parameters", "steps", "train s"]
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
        parts += [f"### {data}, depth {depth}", table(head, rows)]
    return "\n\n".join(parts)


def _losing(density: Density) -> str:
    """In words: which flows lose to a Gaussian or to PNG."""
    cells, lines = _trained(density), []
    for row in records(density.baselines) if len(density.baselines) else ():
        here = cells[cells["data"] == row["data"]]
        for name in ("gaussian", "png_sheet", "png_each"):
            worse = here[here["test"] > row[name]]
            if len(worse):
                which = ", ".join(
                    sorted({f"{code(r['variant'])} (depth {r['depth']})" for r in records(worse)})
                )
                lines.append(f"- {row['data']}: {which} lose to {_OTHERS[name]} ({row[name]:.4f}).")
    if not lines:
        return "Every flow beats the Gaussian and PNG on its data."
    return "Lost to what is no flow:\n\n" + "\n".join(lines)


def _gaps(gaps: pd.DataFrame, figures: list[str]) -> str:
    parts = [
        "## Paired differences",
        f"Test bits/dim of {code(RIVAL)} minus a control with the same seed; negative: emerging is "
        f"better. {LEVEL:.0%} intervals of the mean over seeds, by bootstrap and by Student's t; "
        "the verdict needs both to lie on one side of 0. They hold for these test patches: what "
        "another test set would change is not in them.",
    ]
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
    for (data, depth), group in _trained(density).groupby(["data", "depth"], sort=True):
        means = group.groupby("variant")["test"].mean()
        shown = [f"{means[n]:.3f}" if n in means else "" for n in names]
        rows.append(["here", f"{data}, D = {depth}", *shown])
    told = (
        "Bits per dimension are not comparable between data sets; the columns of one row are. "
        "The paper trains three levels of width 512 for days."
    )
    head = ["", "data and depth", *(code(n) for n in names)]
    return "\n\n".join(["## Beside the paper's numbers", told, table(head, rows, left=2)])


def _curves(density: Density, figures: list[str]) -> str:
    cells = _trained(density)
    worst = records(cells.nlargest(1, "last_quarter"))[0]
    median = cells["last_quarter"].median()
    flat = int((cells["last_quarter"] <= FLAT).sum())
    text = (
        f"Over the last quarter of the steps validation improved by {median:.4f} bits/dim "
        f"(median over trainings; most: {worst['last_quarter']:.4f}, {worst['data']} "
        f"{code(worst['variant'])} at depth {worst['depth']}); {flat} of "
        f"{plural(len(cells), 'training')} improved by at most {FLAT:g}. "
    )
    text += (
        "Training has flattened at this scale."
        if median <= FLAT
        else "**Training has not flattened: longer runs would lower all numbers, and the "
        "differences may change.**"
    )
    parts = ["## Curves", text]
    if "curves" in figures:
        parts.append(
            figure(
                "density_curves",
                f"Validation bits/dim of the averaged weights: {CAPTION_LINES}. Mean over seeds; "
                "shaded: from the best to the worst seed.",
            )
        )
    return "\n\n".join(parts)


def _conditions(density: Density, figures: list[str]) -> str:
    cells = _trained(density)
    worst = cells.groupby("variant")["condition"].max().sort_values()
    rows = [[code(name), number(float(value))] for name, value in worst.items()]
    parts = [
        "## Conditioning of the mixing layers",
        "The largest 2-norm condition number of any mixing layer after training, over all "
        "trainings of a variant (1x1 and convolution together, at the size they have in the flow).",
        table(["variant", "worst condition"], rows),
    ]
    if "conditions" in figures:
        parts.append(
            figure(
                "density_conditions",
                "Worst condition number of a mixing layer over training, seed 0, deepest flows. "
                "It leaves 1 and levels off where training does.",
            )
        )
    return "\n\n".join(parts)


def _fidelity(density: Density) -> str:
    cells = _trained(density)
    head = ["variant", "image, grey levels", "pixels changed", "latents lost", "in float64"]
    rows, unfaithful = [], []
    for name, group in cells.groupby("variant"):
        image = float(group["fidelity_image"].max())
        changed = float(group["fidelity_changed"].max())
        lost = [f"{group[f'fidelity_{which}'].mean():.2%}" for which in ("lost", "lost_float64")]
        rows.append([code(name), number(image), f"{changed:.3%}", *lost])
        if image > FAITHFUL:
            unfaithful.append(code(name))
    told = (
        "Largest error of a float32 round trip of test images, over all trainings of a variant; "
        "and the share of drawn latents (temperature 1, 512 each, mean over trainings) that do "
        "not come back within a hundredth of a standard deviation, or are not finite on the way. "
        "Where float64 loses as many, the trained flow itself throws them far out, and no "
        "precision helps. "
    )
    told += (
        f"Not faithful (over {FAITHFUL} grey levels): {', '.join(unfaithful)}."
        if unfaithful
        else f"Of images all are faithful: none reaches {FAITHFUL} grey levels."
    )
    return "\n\n".join(["## Does float32 sampling stay faithful?", told, table(head, rows)])


def _speed(density: Density) -> str:
    cells = _trained(density)
    deepest = cells[cells["depth"] == cells.groupby("data")["depth"].transform("max")]
    times = deepest.pivot_table(
        index="variant", columns="data", values="sample_seconds", aggfunc="median"
    )
    rows = [
        [code(name), *("–" if math.isnan(t) else f"{t * 1e3:.3f}" for t in row)]
        for name, row in zip(times.index, times.to_numpy(), strict=True)
    ]
    told = (
        "Milliseconds per image: median over trainings of one call for 64 images, one thread, "
        "deepest flows, with the other worker busy beside it. The bar, measured side by side, is "
        "in the contests of [summary.md](summary.md)."
    )
    ratios = "\n".join(
        f"- {row['setting']}: {row['ratio']:.3f}" for row in records(density.step_ratios)
    )
    return "\n\n".join(
        [
            "## Sampling time",
            told,
            table(["variant", *times.columns], rows),
            f"Seconds of a training step, {code(RIVAL)} over {code('1x1')} (what the control that "
            "is matched in time got in steps):",
            ratios or "not measured",
        ]
    )


def _samples(figures: list[str]) -> str:
    parts = ["## Samples, and their nearest training patches"]
    for name in figures:
        if name.startswith("samples_"):
            data = name.removeprefix("samples_")
            parts.append(
                figure(
                    f"density_{name}",
                    f"{data}: samples at temperature 1 of the deepest flows with seed 0, and below "
                    "each the training patch nearest to it, among all places and mirror images. "
                    "Copies would be equal.",
                )
            )
    return "\n\n".join(parts) if len(parts) > 1 else ""
