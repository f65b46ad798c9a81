"""Which cells a sweep trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from emcheck.flows.mixing import MIXINGS
from studies.density.cell import RIVAL, Cell

#: The four flows of the controlled comparison: mixing and control.
CORE = (("1x1", ""), ("1x1", "parameters"), ("1x1", "time"), (RIVAL, ""))

#: What the paper compares besides, and two controls without parameters.
OTHERS = ("reversed", "shuffled", "plu", "qr", "emerging", "periodic", "1x1+raster")

DATA = ("galaxies", "photographs")

#: How many seeds the experiment was planned with.
PLANNED_SEEDS = 5

#: Depth -> how many seeds. Shallow emerging flows differ most from seed to seed (by up to 0.3
#: bits/dim on photographs): the first five could not tell one comparison of depth 1.
SEEDS = {1: 10, 4: PLANNED_SEEDS}


def reference() -> list[Cell]:
    """The controlled comparison with all its seeds, then everything else with one.

    Seeds come first, so that a sweep that is cut off has whole pairs.
    """
    core = [
        Cell(data, mixing, depth, seed, control)
        for seed in range(max(SEEDS.values()))
        for data in DATA
        for depth, seeds in SEEDS.items()
        if seed < seeds
        for mixing, control in CORE
    ]
    others = [Cell(data, mixing) for data in DATA for mixing in OTHERS]
    sets = [
        Cell(data, mixing, control=control)
        for data in ("faces", "digits")
        for mixing, control in CORE
    ]
    return core + others + sets


#: Steps of the emerging flow, and what is trained with as many: each budget twice the last, so
#: that two neighbours tell whether training has flattened. The largest leaves out the controls
#: that the smaller ones decide.
BUDGETS = {1200: CORE, 2400: CORE, 4800: CORE, 9600: (("1x1", "time"), (RIVAL, ""))}


def budget() -> list[Cell]:
    """The controlled comparison against the length of training, with three seeds.

    Smaller budgets come first, so that a sweep that is cut off has intervals for those.
    """
    return [
        Cell(data, mixing, 4, seed, control, steps=steps, warmup=steps // 10, budget=steps)
        for steps, flows in BUDGETS.items()
        for seed in range(3)
        for data in DATA
        for mixing, control in flows
    ]


#: The mixings that a table to choose by compares, besides the emerging one that all are matched to.
FAMILY = tuple(name for name in MIXINGS if name not in (RIVAL, "reversed", "shuffled"))


def family() -> list[Cell]:
    """Every mixing at equal parameters and at equal time, at the smallest budget, three seeds."""
    steps = min(BUDGETS)
    flows = [(RIVAL, ""), *((name, how) for name in FAMILY for how in ("time", "parameters"))]
    return [
        Cell(data, mixing, 4, seed, control, steps=steps, warmup=steps // 10, budget=steps)
        for data in DATA
        for seed in range(3)
        for mixing, control in flows
    ]


def smoke() -> list[Cell]:
    """Seconds: every control on small patches, to see that all of it runs and learns."""
    return [
        Cell("galaxies", mixing, 1, seed, control, width=8, size=8, steps=60, warmup=10, logs=3)
        for seed in (0, 1)
        for mixing, control in CORE
    ]


#: name -> the cells.
PLANS: Mapping[str, Callable[[], list[Cell]]] = {
    "reference": reference,
    "budget": budget,
    "family": family,
    "smoke": smoke,
}


def plan_of(name: str, steps: int = 0) -> list[Cell]:
    """The cells of a plan, with other ``steps`` if they are not 0.

    Raises:
        ValueError: an unknown plan.
    """
    if name not in PLANS:
        raise ValueError(f"expected a plan among {', '.join(PLANS)}, got {name!r}")
    cells = PLANS[name]()
    if not steps:
        return cells
    changed = (
        replace(cell, steps=steps, warmup=steps // 10, budget=steps if cell.budget else 0)
        for cell in cells
    )
    return list(dict.fromkeys(changed))  # budgets that differed may have become one
