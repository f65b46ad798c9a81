"""density.md: the verdict in two sentences, then the evidence."""

from __future__ import annotations

import pandas as pd

from studies.density.cell import RIVAL
from studies.density.report.behaviour import behaviour
from studies.density.report.budget_section import budget_section
from studies.density.report.likelihood import likelihood
from studies.density.report.load import Density
from studies.density.report.verdicts import verdicts
from studies.pages.markdown import code, csv_link, plural
from studies.pages.tidy import records


def page(
    density: Density, gaps: pd.DataFrame, figures: list[str], longer: Density | None = None
) -> str:
    """The whole page; ``longer`` is the sweep over the length of training."""
    first, *history = verdicts(gaps, longer)
    parts = [
        "# Is it better than a 1x1? A controlled density experiment",
        f"**{first}**",
        *history,
        budget_section(longer) if longer is not None else "",
        "## The experiment at one length of training" if longer is not None else "",
        _how(density),
        *likelihood(density, gaps, figures),
        *behaviour(density, figures),
        "## All tables\n\n"
        + ", ".join(
            csv_link(f"density_{name}")
            for name in ("baselines", "cells", "conditions", "curves", "differences", "step_ratios")
        ),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _how(density: Density) -> str:
    cells, machine = density.trained, density.machine
    lost = density.cells[density.cells["diverged"] != ""]
    steps, seconds = cells["steps"], cells["train_seconds"]
    text = (
        f"{plural(len(cells), 'training')}, each {steps.min():,} to {steps.max():,} steps of "
        f"{cells['batch'].max()} patches and {seconds.min():.0f} to {seconds.max():.0f} "
        f"seconds on one thread ({machine.get('cpu', 'unknown')}, torch "
        f"{machine.get('torch', '?')}), {cells['levels'].max()} levels, couplings of width "
        f"{cells['width'].min()} (wider where parameters are matched). Adamax at "
        f"{cells['rate'].max():g} after a warm-up over {cells['warmup'].max()} steps, "
        "averaged weights, uniform dequantisation. Batches and noise depend on the seed alone, so "
        "all variants of a seed see the same; convolutions "
        f"start at the identity, so {code(RIVAL)} starts as {code('1x1')}, bit for bit: "
        f"{_nested(cells)}. Training, validation and test patches come from disjoint bands of "
        "the images, a patch apart (faces and digits: disjoint images). Test bits per dimension "
        "are of the averaged weights with the best validation; nothing was chosen on the test set."
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
