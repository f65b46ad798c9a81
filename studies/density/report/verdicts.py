"""Is it better than a 1x1? What the trainings say, the longest of them first."""

from __future__ import annotations

import pandas as pd

from studies.density.report.budget import budget_verdict
from studies.density.report.differences import verdict
from studies.density.report.load import Density


def verdicts(gaps: pd.DataFrame, longer: Density | None = None) -> list[str]:
    """Return the verdict, and what was said before where there is longer training.

    Args:
        gaps: the differences of a sweep at one length of training.
        longer: the sweep over the length of training.
    """
    if longer is None:
        return [verdict(gaps)]
    return [budget_verdict(longer), f"Before longer training was tried: {verdict(gaps)}"]
