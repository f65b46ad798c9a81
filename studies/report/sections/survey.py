"""The field survey in short; every layer and every cause has a page of its own."""

from __future__ import annotations

import pandas as pd

from studies.pages.markdown import csv_link, plural, table
from studies.report.frames import Frames
from studies.survey.entries import LIBRARIES
from studies.survey.findings import CAUSES
from studies.survey.lines import KINDS

#: Causes that change a likelihood or lose data while nothing raises, by the test of each.
TELLING = (
    "test_torch_affine_scale_that_broadcasts",
    "test_normflows_circular_splines_collapse",
    "test_nflows_linear_splines_in_float32",
)


def survey(frames: Frames) -> str:
    """How many layers were surveyed, how many fail, and three causes."""
    title = "## Survey: do released libraries pass?"
    if frames.survey is None:
        return f"{title}\n\nNot measured: the input holds no survey (`emcheck survey`)."
    released = frames.survey[frames.survey["library"].isin(LIBRARIES)]
    fails, told = int(released["failed_checks"].sum()), int(released["open"].sum())
    failing, design = int((released["verdict"] == "FAIL").sum()), int(released["by_design"].sum())
    first = (
        f"**{failing} of {plural(len(released), 'layer')} of "
        f"{plural(released['library'].nunique(), 'released library')} fail a check; "
        f"{fails - told} of {plural(fails, 'FAIL')} (a check on a layer) are traced to a cause "
        f"that a few lines without emcheck show.** Of these, {design} are by design: the library "
        "documents them, or they follow from what it documents."
    )
    head = ["library", "version", "layers", *("with FAIL" if k == "FAIL" else k for k in KINDS)]
    rows = [_library(str(name), g) for name, g in frames.survey.groupby("library", sort=False)]
    links = f"Cause by cause, layer by layer: [survey.md](survey.md); {csv_link('survey')}"
    return "\n\n".join([title, first, table(head, rows, left=2), *_telling(released), links])


def _library(name: str, group: pd.DataFrame) -> list[str]:
    counts = [str(int((group["verdict"] == kind).sum())) for kind in KINDS]
    return [name, str(group["version"].iloc[0]) or "–", str(len(group)), *counts]


def _telling(released: pd.DataFrame) -> list[str]:
    """Three causes in the words of the survey, with the layers that they make fail."""
    lines = []
    for test in TELLING:
        cause = next(cause for cause in CAUSES if cause.test == test)
        hit = released[released["tests"].str.split().map(lambda tests, t=test: t in tests)]
        if len(hit):
            lines.append(f"- **{cause.library}**: {cause.text} ({plural(len(hit), 'layer')})")
    return (
        ["Three of them:" if len(lines) == 3 else "Among them:", "\n".join(lines)] if lines else []
    )
