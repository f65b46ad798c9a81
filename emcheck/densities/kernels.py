"""Kernels around samples, which test whether as many others lie there as ``log_prob`` says."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from emcheck.bounds import (
    DEVIATIONS,
    FEWEST,
    KNOWN_TO,
    LARGEST_SHARE,
    Measure,
    compare,
)
from emcheck.checks.core import ill_conditioned, worst
from emcheck.densities.flow import Flow
from emcheck.densities.support import Box
from emcheck.oracle.precision import Array

#: Samples of each draw; if a check fails, four times as many are drawn anew.
SAMPLES = 10_000

#: Widths of the kernels, in standard deviations of the samples, narrow first.
WIDTHS = (0.3, 0.6, 0.9, 1.3)

#: Samples that are centres of kernels, besides the mean.
PLACES = 6


def root_of(x: Array) -> Array:
    """Return a triangular root of the samples' covariance."""
    covariance = np.atleast_2d(np.cov(x, rowvar=False))
    ridge = 1e-9 * np.trace(covariance) / len(covariance) + 1e-300
    return np.asarray(np.linalg.cholesky(covariance + ridge * np.eye(len(covariance))))


def worst_of(found: Iterator[Measure]) -> Measure:
    judged = [measure for measure in found if not measure.ill_conditioned]
    told = "too few samples near any of them"
    return worst(*judged) if judged else ill_conditioned("MEAN", detail=told)


def kernels(flow: Flow, seed: int, count: int) -> Iterator[Measure]:
    """Yield one measure for each kernel."""
    x, centres = flow.sample(count, seed), flow.sample(PLACES, seed + 7)
    if not np.isfinite(x).all() or not np.isfinite(centres).all():
        return
    root, log_p = root_of(x), flow.log_density_anywhere(x)
    generator = np.random.default_rng(seed)
    for centre in (x.mean(axis=0), *centres):
        for width in WIDTHS:
            kernel = Kernel(centre, width * root)
            yield kernel.judged(x, log_p, flow, generator)


@dataclass(frozen=True)
class Kernel:
    """A normal density around ``centre (n,)`` with the covariance ``root root^T``."""

    centre: Array
    root: Array

    def log_density(self, x: Array) -> Array:
        u = np.linalg.solve(self.root, (x - self.centre).T)
        n, size = len(self.centre), float(np.log(np.abs(np.diagonal(self.root))).sum())
        return np.asarray(-0.5 * (u**2).sum(axis=0) - 0.5 * n * math.log(2 * math.pi) - size)

    def draw(self, count: int, generator: np.random.Generator) -> Array:
        """Draw ``(count, n)`` from this density."""
        normal = generator.standard_normal((count, len(self.centre)))
        return np.asarray(self.centre + normal @ self.root.T)

    def means(
        self,
        x: Array,
        log_p: Array,
        flow: Flow,
        generator: np.random.Generator,
        offset: float = 0.0,
    ) -> tuple[float, float, float]:
        """Return the mean over samples, the share of the kernel, and the error of their difference.

        ``offset`` is added to ``log_prob``.
        """
        most = math.log(len(x) * LARGEST_SHARE)
        y = self.draw(len(x), generator)
        inside = self.log_density(y) - flow.log_density_anywhere(y) - offset <= most
        ratio = self.log_density(x) - log_p - offset
        weights = np.exp(np.where(ratio <= most, ratio, -np.inf))
        share, mean = float(inside.mean()), float(weights.mean())
        of_share = max(share * (1 - share), 1 / len(y)) / len(y)
        return mean, share, math.sqrt(float(weights.var(ddof=1)) / len(x) + of_share)

    def judged(self, x: Array, log_p: Array, flow: Flow, generator: np.random.Generator) -> Measure:
        mean, share, error = self.means(x, log_p, flow, generator)
        if not math.isfinite(error) or error * math.sqrt(FEWEST) > max(mean, share):
            return ill_conditioned("MEAN", detail="too few samples near this one")
        told = "samples near one of them, over what log_prob says; "
        told += f"{DEVIATIONS * error / max(share, 1e-9):.1%} off would have been seen"
        return compare(mean, share, DEVIATIONS * error, "MEAN", detail=told)


def ratios(flow: Flow, seed: int) -> list[list[tuple[float, float]]]:
    """Return logarithms of ``mean / share`` and their errors, by centre, narrow first.

    The first centre is the mean of the samples. Nothing is read beyond the box of the samples. A
    large constant in ``log_prob`` is removed first and added back.
    """
    x = flow.sample(4 * SAMPLES, seed + 2000)
    flow = flow.within(Box.around(x))
    root, log_p = root_of(x), flow.log_density(x)
    generator, found = np.random.default_rng(seed), []
    whole = Kernel(x.mean(axis=0), WIDTHS[1] * root).log_density(x) - log_p
    offset = float(np.log(np.exp(whole - whole.max()).mean()) + whole.max())
    offset = offset if abs(offset) > 1 else 0.0
    for centre in (x.mean(axis=0), *flow.sample(PLACES, seed + 2007)):
        of_centre = []
        for width in WIDTHS:
            kernel = Kernel(centre, width * root)
            mean, share, error = kernel.means(x, log_p, flow, generator, offset)
            if share > 0 and mean > 0 and error <= KNOWN_TO * max(mean, share):
                log = math.log(mean / share) + offset
                of_centre.append((log, error / min(mean, share)))
        found.append(of_centre)
    return found
