"""The integral of a density: on a grid, or by draws from a normal density around its samples."""

from __future__ import annotations

import math

import numpy as np

from emcheck.bounds import (
    GRID_SHARE,
    MOST_UNKNOWN,
    MOST_WEIGHT,
    Measure,
    compare,
    empirical_bernstein,
)
from emcheck.checks.core import ill_conditioned
from emcheck.densities.flow import Flow
from emcheck.densities.kernels import Kernel, root_of
from emcheck.oracle.precision import Array

#: Points of each axis, by dimension.
GRID = {1: 20_000, 2: 400, 3: 72}

#: Draws of the normal density, beyond three dimensions.
DRAWS = 40_000


def on_a_grid(flow: Flow, x: Array) -> Measure:
    """The trapezoid rule on a box of twelve deviations or more, three times."""
    centre, spread = np.median(x, axis=0), x.std(axis=0) + 1e-12
    reach = np.maximum(np.abs(x - centre).max(axis=0) / spread * 1.5, 12.0)
    quarters = np.subtract(*np.quantile(x, [0.75, 0.25], axis=0)) / 1.35
    points = GRID[flow.size]
    if bool((2 * reach * spread / points > quarters / 2).any()):
        return ill_conditioned("QUAD", detail="the tails are too heavy for a grid")
    found = []
    # Half as many points, all of them, and all of them moved by half a cell.
    for count, moved in ((points // 2, 0.0), (points, 0.0), (points, 1.0 / points)):
        offsets = np.linspace(-1, 1, count) + moved
        axes = [c + r * s * offsets for c, r, s in zip(centre, reach, spread, strict=True)]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, flow.size)
        cell = math.prod(float(axis[1] - axis[0]) for axis in axes)
        values = np.exp(flow.log_density_anywhere(grid))
        if not np.isfinite(values).all():
            return ill_conditioned("QUAD", detail="log_prob is not finite around the samples")
        inner = np.ones(1, dtype=bool)
        for _ in axes:
            inner = np.logical_and.outer(inner, np.abs(offsets) <= 0.5)
        found.append((float(values.sum()) * cell, float(values[inner.reshape(-1)].sum()) * cell))
    (coarse, _), (fine, inside), (other, _) = found
    rough = max(abs(fine - coarse), abs(fine - other))
    # A tail as heavy as that of a Cauchy density holds as much beyond the box as in its outer half.
    bound = GRID_SHARE + 2 * rough + 4 * abs(fine - inside)
    if bound > MOST_UNKNOWN:
        return ill_conditioned("QUAD", detail="the density is too rough, or its tails too heavy")
    told = f"an integral that is {bound:.2g} off would have been seen"
    return compare(fine, 1.0, bound, "QUAD", detail=told)


def by_importance(flow: Flow, x: Array, seed: int) -> Measure:
    """The mean of ``p / g`` over draws of a normal density ``g`` a little wider than the samples.

    Draws with ``p > M g`` count as nothing, so that the mean is that of bounded numbers and no
    more than 1 for a density, whatever its samples are. Less than 1 says that mass lies where
    ``g`` does not look.
    """
    kernel = Kernel(x.mean(axis=0), (1 + 2 / flow.size) * root_of(x))
    y = kernel.draw(DRAWS, np.random.default_rng(seed))
    weights = flow.log_density_anywhere(y) - kernel.log_density(y)
    if np.isnan(weights).any():
        return ill_conditioned("MEAN", detail="log_prob is not a number around the samples")
    held = np.exp(np.where(weights <= math.log(MOST_WEIGHT), weights, -np.inf))
    mean, bound = float(held.mean()), empirical_bernstein(held, MOST_WEIGHT)
    if bound > MOST_UNKNOWN or mean < 1 - bound:
        told = f"a normal density around the samples finds {mean:.2g} of the mass"
        return ill_conditioned("MEAN", detail=told)
    told = f"by draws; an integral that is {bound:.2g} too large would have been seen"
    return compare(mean, 1.0, bound, "MEAN", detail=told)
