"""Seconds of one training step of two flows, side by side."""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path

from studies.density.cell import RIVAL, Cell
from studies.density.data import load
from studies.density.training import Training
from studies.grown import grown

#: Steps of each flow that count, after one that warms up.
ROUNDS = 40


def step_ratio(cell: Cell, root: Path | None = None) -> dict[str, float]:
    """Seconds of a step of the emerging rival over those of ``cell``, weights as after training.

    Returns:
        ``ratio``, the median of paired steps, and ``low`` and ``high``, their quartiles.
    """
    data = load(cell.data, cell.size, root)
    pair = [
        Training(replace(cell, control="", steps=ROUNDS + 1, mixing=mixing), data)
        for mixing in (RIVAL, cell.mixing)
    ]
    for training in pair:
        grown(training.flow)
        training.step()
    ratios = []
    for _ in range(ROUNDS):
        before = [training.seconds for training in pair]
        for training in pair:
            training.step()
        slow, fast = (t.seconds - start for t, start in zip(pair, before, strict=True))
        ratios.append(slow / fast)
    low, ratio, high = statistics.quantiles(ratios, n=4)
    return {"ratio": ratio, "low": low, "high": high}
