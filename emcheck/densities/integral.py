"""The integral of a density: on a grid, or by draws from a normal density around its samples."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from emcheck.bounds import (
    GRID_SHARE,
    MOST_UNKNOWN,
    MOST_WEIGHT,
    SEEN_BEYOND,
    Measure,
    compare,
    empirical_bernstein,
)
from emcheck.checks.core import ill_conditioned
from emcheck.densities.flow import Flow
from emcheck.densities.kernels import SAMPLES, Kernel, root_of
from emcheck.densities.support import Box
from emcheck.oracle.precision import Array

#: Points of each axis, by dimension.
GRID = {1: 20_000, 2: 400, 3: 72}

#: Order of the differences that see jumps.
ORDER = 12

#: Draws of the normal density, beyond three dimensions.
DRAWS = 40_000


def on_a_grid(flow: Flow, x: Array) -> Measure:
    """Integrate by the midpoint rule over twelve deviations or more, within the support, thrice."""
    centre, spread = np.median(x, axis=0), x.std(axis=0) + 1e-12
    reach = np.maximum(np.abs(x - centre).max(axis=0) / spread * 1.5, 12.0) * spread
    low, high, missed = centre - reach, centre + reach, 0.0
    if flow.support is not None:
        low, high = np.maximum(low, flow.support.low), np.minimum(high, flow.support.high)
        missed = flow.support.missed
    quarters = np.subtract(*np.quantile(x, [0.75, 0.25], axis=0)) / 1.35
    points = GRID[flow.size]
    if bool(((high - low) / points > quarters / 2).any()):
        return ill_conditioned("QUAD", detail="the tails are too heavy for a grid")
    found = []
    # Half as many points, all of them, and all of them moved by half a cell.
    for count, moved in ((points // 2, 0.5), (points, 0.5), (points, 0.0)):
        cells = (high - low) / count
        axes = [a + h * (np.arange(count) + moved) for a, h in zip(low, cells, strict=True)]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, flow.size)
        values = np.exp(flow.log_density_anywhere(grid))
        if not np.isfinite(values).all():
            return ill_conditioned("QUAD", detail="log_prob is not finite around the samples")
        inner = (np.abs(grid - (low + high) / 2) <= (high - low) / 4).all(axis=1)
        cell = float(cells.prod())
        sums = values.sum(), values[inner].sum(), _jumps(values.reshape([count] * flow.size))
        found.append([float(total) * cell for total in sums])
    (coarse, *_), (fine, inside, jumps), (other, *_) = found
    rough = max(abs(fine - coarse), abs(fine - other))
    # A tail as heavy as that of a Cauchy density has as much beyond the box as in its outer half.
    beyond = 4 * abs(fine - inside) if flow.support is None else missed
    bound = GRID_SHARE + 2 * rough + jumps + beyond
    if bound > MOST_UNKNOWN:
        return ill_conditioned("QUAD", detail="the density is too rough, or its tails too heavy")
    told = f"an integral that is {bound:.2g} off would have been seen"
    return compare(fine, 1.0, bound, "QUAD", detail=told)


def _jumps(values: Array) -> float:
    """What a sum over a grid may miss by jumps and kinks between its points, in units of a cell.

    The rule is off by at most ``J / 2`` for a jump by ``J``, which is what its differences of any
    even order ``m`` sum to, over ``2^m``. A wave of frequency ``w`` is left ``sin(w h / 2)^m``.
    """
    return sum(
        float(np.abs(np.diff(values, ORDER, axis=axis)).sum()) / 2**ORDER
        for axis in range(values.ndim)
    )


def by_importance(flow: Flow, x: Array, seed: int) -> Measure:
    """Compare the mean of ``p / g`` over draws of a normal density ``g`` with 1.

    ``g`` is a little wider than the samples. Draws with ``p > M g`` count as 0, so that the mean is
    one of bounded numbers and, for a density, at most 1, whatever its samples are. A mean below 1
    says that mass lies where ``g`` draws too little.
    """
    _, held = _weights(flow, x, seed)
    if np.isnan(held).any():
        return ill_conditioned("MEAN", detail="log_prob is not a number around the samples")
    mean, bound = float(held.mean()), empirical_bernstein(held, MOST_WEIGHT)
    if bound > MOST_UNKNOWN or mean < 1 - bound:
        told = f"a normal density around the samples finds {mean:.2g} of the mass"
        return ill_conditioned("MEAN", detail=told)
    told = f"by draws; an integral that is {bound:.2g} too large would have been seen"
    return compare(mean, 1.0, bound, "MEAN", detail=told)


def _weights(flow: Flow, x: Array, seed: int) -> tuple[Array, Array]:
    """Draws of the normal density, and ``p / g`` at each: 0 where it is more than ``M``."""
    kernel = Kernel(x.mean(axis=0), (1 + 2 / flow.size) * root_of(x))
    y = kernel.draw(DRAWS, np.random.default_rng(seed))
    weights = flow.log_density_anywhere(y) - kernel.log_density(y)
    return y, np.exp(np.where(weights > math.log(MOST_WEIGHT), -np.inf, weights))


def integral(flow: Flow, x: Array, seed: int) -> Measure:
    """The integral of ``exp(log_prob)``, on a grid or by draws, judged against 1.

    Where nothing can be said of the whole, more than 1 in the box of the samples is still wrong.
    """
    whole = _integral(flow, x, seed)
    if whole.ill_conditioned and flow.support is None:
        there = _integral(flow.within(Box.around(x)), x, seed)
        if not there.ok and not there.ill_conditioned and there.got > 1:
            return replace(there, detail=f"in the box of the samples; {there.detail}")
    return whole


def _integral(flow: Flow, x: Array, seed: int) -> Measure:
    return on_a_grid(flow, x) if flow.size <= 3 else by_importance(flow, x, seed)


def keep_to_samples(flow: Flow, seed: int) -> None:
    """Give a flow the box of its samples as support, where it is a density there and not beyond.

    The ``log_prob`` of a flow on an interval or a circle is finite outside of it, where nobody
    should read it: the integral over everything is more than 1, that over the box of the samples
    is 1. A density has no more than 1 anywhere, so a flow with tails that ``sample`` cuts off is
    not given a box.
    """
    if flow.is_located:
        return
    x = flow.sample(SAMPLES, seed)
    box = Box.around(x)
    y, held = _weights(flow, x, seed)
    error = empirical_bernstein(held, MOST_WEIGHT)
    beyond = float(np.where(box.holds(y), 0.0, held).mean())
    if beyond > SEEN_BEYOND and float(held.mean()) > 1 + error:  # NaN says nothing
        there = _integral(flow.within(box), x, seed)
        if there.ok or there.ill_conditioned:
            flow.support = box
    flow.is_located = True
