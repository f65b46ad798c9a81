"""The verdict of the density experiment; the experiment itself has a page of its own."""

from __future__ import annotations

from studies.density.report.differences import differences
from studies.density.report.verdicts import verdicts
from studies.pages.markdown import csv_link
from studies.report.frames import Frames


def density(frames: Frames) -> str:
    """Two sentences and where the numbers are."""
    title = "## Density: is it better than a 1x1?"
    if not frames.sweeps:
        return f"{title}\n\nNot measured: no trained cell is there (`emcheck density sweep`)."
    sweep, *longer = frames.sweeps.values()
    latest = verdicts(differences(sweep), *longer)[0]
    links = (
        "Bits per dimension with intervals, curves and samples: [density.md](density.md); "
        f"{csv_link('density_differences')}"
    )
    return f"{title}\n\n**{latest}**\n\n{links}"
