"""What is said about longer training follows from the intervals, by rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from studies.density.cell import RIVAL
from studies.density.report.budget import (
    EXPONENTS,
    HEADLINE,
    Outcome,
    budget_verdict,
    flattening,
    outcome,
    trends,
)
from studies.density.report.budget_section import budget_section, draw_budget
from studies.density.report.differences import CONTROLS, differences
from studies.density.report.load import Density

BUDGETS = (1200, 2400, 4800, 9600)
SEEDS = 3

#: Differences between seeds, which no trend explains.
NOISE = np.random.default_rng(0).normal(0, 0.001, (SEEDS, len(BUDGETS)))


def swept(gap: Any, budgets: tuple[int, ...] = BUDGETS, valid: Any = lambda n: 3.0) -> Density:
    """Trainings whose emerging flow is ahead of each control by ``-gap(budget)``."""
    rows = []
    for n, budget in enumerate(budgets):
        for seed in range(SEEDS):
            for variant in (RIVAL, *CONTROLS):
                ahead = gap(budget) + NOISE[seed, n] if variant == RIVAL else 0.0
                rows.append(
                    {"data": "galaxies", "depth": 4, "budget": budget, "variant": variant}
                    | {"seed": seed, "diverged": "", "test": 4 + 0.1 * seed + ahead}
                    | {"steps": budget, "last_quarter": 0.0, "last_valid": valid(budget)}
                )  # fmt: skip
    none = pd.DataFrame()
    return Density(pd.DataFrame(rows), none, none, none, none, {}, {})


def told(density: Density) -> Outcome:
    return outcome("galaxies", differences(density), trends(density))


@pytest.mark.parametrize(
    ("gap", "wanted"),
    [
        (lambda n: -0.03, Outcome.LASTS),
        (lambda n: -0.03 - 0.02 * (1 - (1200 / n) ** 0.5), Outcome.LASTS),  # it grows
        (lambda n: -0.01 - 0.03 * (1200 / n) ** 0.5, Outcome.SHRINKS),
        (lambda n: -0.03 * 1200 / n, Outcome.SHRINKS),
        (lambda n: 0.0, Outcome.UNTOLD),
        (lambda n: 0.03, Outcome.UNTOLD),
    ],
)
def test_the_outcome_follows_from_the_fits(gap: Any, wanted: Outcome) -> None:
    assert told(swept(gap)) is wanted


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_a_fit_finds_what_was_put_in(exponent: float) -> None:
    density = swept(lambda n: -0.01 - 0.03 * (1200 / n) ** exponent)
    (fit,) = (t for t in trends(density) if (t.control, t.exponent) == (HEADLINE, exponent))
    assert fit.limit_low < -0.01 < fit.limit_high
    assert fit.change_low < -0.03 < fit.change_high
    assert fit.limit_high - fit.limit_low < 0.02
    assert fit.at(np.array([1200.0]), 1200)[0] == pytest.approx(fit.limit + fit.change)


@pytest.mark.parametrize("alike", [0.0, 0.03])
def test_an_interval_covers_the_truth_as_often_as_it_says(alike: float) -> None:
    """Where a seed has something of its own at every budget too."""
    rng, found = np.random.default_rng(1), 0
    for _ in range(200):
        density = swept(lambda n: -0.01)
        noise = rng.normal(0, 0.01, len(density.cells))
        noise += alike * rng.normal(size=SEEDS)[density.cells["seed"]]
        density.cells["test"] += noise * (density.cells["variant"] == RIVAL)
        fit = next(t for t in trends(density) if t.control == HEADLINE)
        found += fit.limit_low < -0.01 < fit.limit_high
    assert 180 <= found <= 199


def test_a_seed_with_two_budgets_is_left_out() -> None:
    density = swept(lambda n: -0.01 - 0.03 * 1200 / n)
    fourth = density.cells[density.cells["seed"] == 0].assign(seed=3)
    few = fourth[fourth["budget"] <= 2400].assign(test=lambda cells: cells["test"] + 1)
    longer = replace(density, cells=pd.concat([density.cells, few], ignore_index=True))
    assert trends(longer) == trends(density)
    two = density.cells[density.cells["seed"] < 2]
    assert trends(replace(density, cells=two)) == []  # no interval from two seeds


def test_two_budgets_are_no_trend() -> None:
    density = swept(lambda n: -0.03, BUDGETS[:2])
    assert trends(density) == []
    assert told(density) is Outcome.UNTOLD
    assert "cannot be told to last or to shrink on galaxies" in budget_verdict(density)


def test_two_sentences_of_at_most_thirty_words() -> None:
    shrinks = swept(lambda n: -0.01 - 0.03 * (1200 / n) ** 0.5, valid=lambda n: 3 + 30 / n)
    other = shrinks.cells.assign(data="photographs")
    both = Density(pd.concat([shrinks.cells, other]), *[pd.DataFrame()] * 4, {}, {})
    text = budget_verdict(both)
    assert text.startswith("At equal time the emerging flow's gain shrinks towards 0.0")
    assert "doubling 4,800 steps changed validation by less than 0.01 bits/dim." in text
    sentences = text.removesuffix(".").split(". ")
    assert len(sentences) == 2
    assert all(len(sentence.split()) <= 30 for sentence in sentences), sentences


def test_flattening_compares_neighbouring_budgets() -> None:
    found = flattening(swept(lambda n: 0.0, valid=lambda n: 3 + 120 / n))
    change = found[found["variant"] == RIVAL].set_index("doubled")["change"]
    assert change.to_dict() == pytest.approx({2400: -0.05, 4800: -0.025, 9600: -0.0125})
    assert "had not flattened: doubling 4,800 steps still" in budget_verdict(
        swept(lambda n: 0.0, valid=lambda n: 3 + 120 / n)
    )


def test_flattening_compares_each_seed_with_itself() -> None:
    density = swept(lambda n: 0.0, valid=lambda n: 3 + 120 / n)
    cells = density.cells.assign(last_valid=density.cells["last_valid"] + density.cells["seed"])
    missing = (cells["budget"] == 2400) & (cells["seed"] == 2)
    found = flattening(replace(density, cells=cells[~missing]))
    change = found[found["variant"] == RIVAL].set_index("doubled")["change"]
    assert change.to_dict() == pytest.approx({2400: -0.05, 4800: -0.025, 9600: -0.0125})


def test_the_section_says_what_is_missing() -> None:
    density = swept(lambda n: -0.03, BUDGETS[:3])
    text = budget_section(density)
    assert "**The sweep is not finished**: 36 of 84 trainings are done" in text
    assert "missing are some of 1,200, 2,400, 4,800, 9,600 steps" in text  # the photographs
    assert "nan" not in text.lower()
    assert draw_budget(density) == draw_budget(density)
