"""Paired differences over seeds, and what their intervals allow to be said."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from emcheck.oracle.precision import Array
from studies.density.cell import RIVAL
from studies.density.plans import PLANNED_SEEDS
from studies.density.report.load import FLAT, Density

#: What the emerging flow is compared with.
CONTROLS = ("1x1", "1x1, matched parameters", "1x1, matched time")

#: What both flows of a pair share, besides the seed.
SETTING = ["data", "depth", "budget"]

#: Two-sided level of every interval, resamples of the bootstrap, and its seed.
LEVEL, RESAMPLES, SEED = 0.95, 9999, 0

#: Seeds below which no interval is given.
FEWEST = 3


@dataclass(frozen=True)
class Pairs:
    """The trainings of the emerging flow and of one control in one setting.

    Args:
        setting: data, depth and budget.
        control: what the emerging flow is compared with.
        gaps: test bits per dimension of the emerging flow minus the control's, by seed.
        cells: the trainings of all seeds of which neither diverged.
        dropped: how many seeds have a training that diverged.
    """

    setting: dict[str, Any]
    control: str
    gaps: pd.Series
    cells: pd.DataFrame
    dropped: int


def pairs_of(density: Density) -> Iterator[Pairs]:
    """Yield the pairs of every setting and control that have at least one seed."""
    for setting, group in density.cells.groupby(SETTING, sort=True):
        for control in CONTROLS:
            pair = group[group["variant"].isin((RIVAL, control))]
            lost = set(pair.loc[pair["diverged"] != "", "seed"])
            whole = pair[~pair["seed"].isin(lost)]
            bits = whole.pivot_table(index="seed", columns="variant", values="test")
            if RIVAL in bits and control in bits:
                gaps = (bits[RIVAL] - bits[control]).dropna()
                if len(gaps):
                    named = dict(zip(SETTING, setting, strict=True))
                    yield Pairs(named, control, gaps, whole, len(lost))


def differences(density: Density) -> pd.DataFrame:
    """Test bits per dimension of the emerging flow minus a control's, seed by seed.

    Two intervals of the mean over the paired seeds: a bootstrap (percentiles of resampled
    means, which are too narrow for few seeds) and Student's t. ``verdict`` follows the wider
    one: better or worse if it lies on one side of 0, else undecided. ``dropped`` counts seeds
    of which one training diverged; ``gained`` is what validation still gained in the last
    quarter of the steps, the mean of both sides.
    """
    return pd.DataFrame(
        pairs.setting
        | {"control": pairs.control, "dropped": pairs.dropped}
        | {"steps": int(pairs.cells["steps"].min()), "gained": pairs.cells["last_quarter"].mean()}
        | interval(pairs.gaps.to_numpy())
        for pairs in pairs_of(density)
    )


def interval(gaps: Array) -> dict[str, Any]:
    """Return mean, both intervals and verdict of the differences of paired trainings."""
    mean = float(gaps.mean())
    found: dict[str, Any] = {"seeds": len(gaps), "difference": mean}
    blank = dict.fromkeys(("low", "high", "t_low", "t_high"), math.nan)
    if len(gaps) < FEWEST:
        return found | blank | {"verdict": "one seed" if len(gaps) == 1 else "too few seeds"}
    drawn = stats.bootstrap(
        (gaps,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    wide = stats.ttest_1samp(gaps, 0.0).confidence_interval(LEVEL)
    found |= {"low": drawn.low, "high": drawn.high, "t_low": wide.low, "t_high": wide.high}
    if max(drawn.high, wide.high) < 0:
        return found | {"verdict": "better"}
    return found | {"verdict": "worse" if min(drawn.low, wide.low) > 0 else "undecided"}


def verdict(gaps: pd.DataFrame) -> str:
    """Two sentences: against the plain 1x1 flow, and against the two controls."""
    decided = gaps[gaps["seeds"] >= FEWEST] if len(gaps) else gaps
    plain = decided[decided["control"] == CONTROLS[0]] if len(decided) else decided
    matched = decided[decided["control"] != CONTROLS[0]] if len(decided) else decided
    if not len(plain) or not len(matched):
        return "Not decided: there are too few seeds. No sentence about better or worse follows."
    gained = decided["gained"].mean()
    caveat = (
        f"; training had not flattened (validation still gained {gained:.3f} bits/dim in the last "
        "quarter), so longer runs may change this"
        if gained > FLAT
        else ""
    )
    few = len(gaps) - len(decided)
    if few:
        caveat += f"; {few} further comparisons have too few seeds to say"
    return (
        f"After {plain['steps'].min():,} steps at equal depth and width the emerging flow "
        f"{_outcome(plain)}. Against a 1x1 flow with as many parameters, or with as many steps as "
        f"its time allows, it {_outcome(matched)}{caveat}."
    )


def later_seeds(density: Density) -> str:
    """Return why there are seeds beyond the planned ones and what they say alone; else nothing."""
    cells = density.cells
    gaps = differences(replace(density, cells=cells[cells["seed"] >= PLANNED_SEEDS]))
    if not len(gaps):
        return ""
    return (
        f"Seeds beyond the first {PLANNED_SEEDS} came into the plan after these had left one "
        "comparison open (photographs, depth 1, matched time); no interval allows for that choice. "
        f"By the later seeds alone the emerging flow {_outcome(gaps)}."
    )


def _outcome(gaps: pd.DataFrame) -> str:
    """``is better in 3 of 4 comparisons (0.012 to 0.034 bits/dim) and undecided in 1``."""
    words = {"better": "better", "worse": "worse", "undecided": "not told apart"}
    parts = []
    for name, word in words.items():
        found = gaps[gaps["verdict"] == name]
        if len(found):
            low, high = found["difference"].abs().min(), found["difference"].abs().max()
            size = f"{low:.3f}" if len(found) == 1 else f"{low:.3f} to {high:.3f}"
            parts.append(f"{word} in {len(found)} of {len(gaps)} comparisons ({size} bits/dim)")
    return "is " + " and ".join(parts)
