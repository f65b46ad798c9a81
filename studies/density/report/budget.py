"""Whether the gain of the emerging flow lasts when training is longer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import pandas as pd
from scipy import stats

from emcheck.oracle.precision import Array
from studies.density.cell import RIVAL
from studies.density.report.differences import CONTROLS, FEWEST, LEVEL, differences, pairs_of
from studies.density.report.load import Density
from studies.pages.tidy import records

#: The control that every budget has: a 1x1 flow with as many steps as its time allows.
HEADLINE = "1x1, matched time"

#: A flow has flattened if twice the budget changes its validation by less, in bits/dim.
FLATTENED = 0.01

#: The gap is fitted as ``limit + change (N_0 / N)^p`` with each of these ``p``: how fast it
#: approaches its limit is not known, and what only one of them says is not said.
EXPONENTS = (0.5, 1.0)

#: A trend needs so many budgets.
FEWEST_BUDGETS = 3


class Outcome(Enum):
    """What becomes of a gain, by rule."""

    LASTS = "lasts"
    SHRINKS = "shrinks"
    UNTOLD = "cannot be told to last or to shrink"


@dataclass(frozen=True)
class Trend:
    """A fit of the gaps of one data set and control.

    Each seed is fitted by least squares over its budgets. Weights and batches of a seed are the
    same at every budget, so its gaps are alike, and only seeds are independent: the intervals are
    those of Student's t over the fits of the seeds.

    The gap is negative where the emerging flow is better. ``limit`` is the gap of endless training,
    ``change`` the gap at the smallest budget minus the limit, ``*_low`` and ``*_high`` the ends of
    their intervals.
    """

    data: str
    control: str
    exponent: float
    limit: float
    limit_low: float
    limit_high: float
    change: float
    change_low: float
    change_high: float

    @property
    def shrinks(self) -> bool:
        """Whether the gain certainly becomes smaller with the budget."""
        return self.change_high < 0

    @property
    def stays(self) -> bool:
        """Whether a gain is certainly left in the limit."""
        return self.limit_high < 0

    def at(self, budget: Array, smallest: int) -> Array:
        """Return the fitted gap at the budgets."""
        return self.limit + self.change * (smallest / budget) ** self.exponent


def seed_gaps(density: Density) -> pd.DataFrame:
    """Return one row for each data set, depth, budget, control and seed, with its gap."""
    return pd.DataFrame(
        pairs.setting | {"control": pairs.control, "seed": seed, "gap": gap}
        for pairs in pairs_of(density)
        for seed, gap in pairs.gaps.items()
    )


def trends(density: Density) -> list[Trend]:
    """Return the fits of every data set and control that has enough budgets and seeds."""
    gaps = seed_gaps(density)
    if not len(gaps):
        return []
    return [
        _fitted(str(data), str(control), seeds, exponent)
        for (data, control), group in gaps.groupby(["data", "control"], sort=True)
        if len(seeds := _long_enough(group)) >= FEWEST
        for exponent in EXPONENTS
    ]


def _long_enough(group: pd.DataFrame) -> list[pd.DataFrame]:
    """The gaps of each seed that has enough budgets."""
    seeds = [own for _, own in group.groupby("seed")]
    return [own for own in seeds if own["budget"].nunique() >= FEWEST_BUDGETS]


def _fitted(data: str, control: str, seeds: list[pd.DataFrame], exponent: float) -> Trend:
    smallest = min(own["budget"].min() for own in seeds)
    values = []
    for own in seeds:
        shrinking = (smallest / own["budget"].to_numpy(float)) ** exponent
        columns = np.stack([np.ones(len(own)), shrinking], axis=1)
        values.append(np.linalg.lstsq(columns, own["gap"].to_numpy(), rcond=None)[0])
    value = np.mean(values, axis=0)
    low, high = stats.ttest_1samp(values, 0.0).confidence_interval(LEVEL)
    ends = np.stack([value, low, high], axis=1).ravel()
    return Trend(data, control, exponent, *map(float, ends))


def outcome(data: str, gaps: pd.DataFrame, found: list[Trend]) -> Outcome:
    """Return what becomes of the gain on a data set, against the control of equal time.

    It shrinks if both fits say so. It lasts if neither says so, both leave a gain in the limit,
    and the intervals at the largest budget lie on the side of a gain. Else it cannot be told.
    """
    fits = [trend for trend in found if (trend.data, trend.control) == (data, HEADLINE)]
    if not fits:
        return Outcome.UNTOLD
    if all(trend.shrinks for trend in fits):
        return Outcome.SHRINKS
    largest = _largest(data, gaps)
    certain = largest["verdict"] == "better" and all(trend.stays for trend in fits)
    return Outcome.LASTS if certain and not any(t.shrinks for t in fits) else Outcome.UNTOLD


def _largest(data: str, gaps: pd.DataFrame) -> dict[str, object]:
    rows = gaps[(gaps["data"] == data) & (gaps["control"] == HEADLINE)]
    return records(rows.nlargest(1, "budget"))[0]


def flattening(density: Density) -> pd.DataFrame:
    """Return what each doubling of the budget changes of the validation, mean over the seeds.

    Only seeds that both budgets have are compared.
    """
    keys = ["data", "variant", "budget"]
    trained = density.trained
    trained = trained[trained["variant"].isin((RIVAL, *CONTROLS))]
    trained = trained[[*keys, "seed", "last_valid"]]
    longer = trained.assign(budget=trained["budget"] // 2)
    both = trained.merge(longer, on=[*keys, "seed"], suffixes=("", "_longer"))
    both["change"] = both["last_valid_longer"] - both["last_valid"]
    means = both.groupby(keys)["change"].mean().reset_index()
    means["doubled"] = 2 * means["budget"]
    return means


def budget_verdict(density: Density) -> str:
    """Return two sentences: what becomes of the gain, and whether training had flattened."""
    gaps, found = differences(density), trends(density)
    where: dict[str, list[str]] = {}
    for data in sorted(set(gaps["data"]) if len(gaps) else ()):
        where.setdefault(_what_becomes(data, gaps, found), []).append(data)
    told = [f"{what} on {' and '.join(names)}" for what, names in where.items()]
    if not told:
        return "No pair of trainings was found. Nothing follows about longer training."
    last = flattening(density)
    if len(last):
        last = last[last["doubled"] == last.groupby("data")["doubled"].transform("max")]
    return f"At equal time the emerging flow's gain {' and '.join(told)}. {_flattened(last)}"


def _what_becomes(data: str, gaps: pd.DataFrame, found: list[Trend]) -> str:
    what = outcome(data, gaps, found)
    fits = [trend for trend in found if (trend.data, trend.control) == (data, HEADLINE)]
    if what is Outcome.LASTS:
        row = _largest(data, gaps)
        return f"lasts ({-float(row['difference']):.3f} bits/dim at {row['budget']:,} steps)"  # type: ignore[arg-type]
    if what is Outcome.SHRINKS:
        low, high = (-max(t.limit_high for t in fits), -min(t.limit_low for t in fits))
        middle = -sum(t.limit for t in fits) / len(fits)
        return f"shrinks towards {middle:.3f} bits/dim ({low:.3f} to {high:.3f})"
    return what.value


def _flattened(last: pd.DataFrame) -> str:
    if not len(last):
        return "Whether training had flattened cannot be told from one budget."
    most = last["change"].abs().max()
    budget = last["budget"].max()
    if most < FLATTENED:
        return (
            f"Training had flattened: doubling {budget:,} steps changed validation by "
            f"less than {FLATTENED:g} bits/dim."
        )
    return (
        f"Training had not flattened: doubling {budget:,} steps still changed validation by up "
        f"to {most:.3f} bits/dim."
    )
