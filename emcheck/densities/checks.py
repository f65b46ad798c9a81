"""The checks of whole flows: each is one promise of a density, and has failed on a fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from emcheck.bounds import (
    COUPLED,
    FINITE_DIFFERENCE,
    MOST_DIFFERENCES,
    Arithmetic,
    Measure,
    compare,
)
from emcheck.checks.core import Unsupported, ill_conditioned, worst, yes
from emcheck.checks.differences import Quality, central_difference
from emcheck.densities.flow import Flow
from emcheck.densities.integral import integral, keep_to_samples
from emcheck.densities.kernels import SAMPLES, kernels, worst_of
from emcheck.densities.parts import parts_of, sum_of_parts
from emcheck.guard import foreign, one_line
from emcheck.known import Clause, make_known

Function = Callable[[Flow, int], Measure]


@dataclass(frozen=True)
class DensityCheck:
    """One promise of a density as a function ``(flow, seed) -> Measure``."""

    name: str
    function: Function

    @property
    def family(self) -> str:
        return "density"

    @property
    def clause(self) -> Clause:
        return Clause.LOGDET

    @property
    def summary(self) -> str:
        return (self.function.__doc__ or "").strip().splitlines()[0]


#: name -> check, in the order in which they run.
DENSITY_CHECKS: dict[str, DensityCheck] = {}


def density_check(function: Function) -> Function:
    """Register a function under its name."""
    check = DensityCheck(function.__name__, function)
    DENSITY_CHECKS[check.name] = check
    make_known(check.name, check.family, check.clause, check.summary)
    return function


def _not_random(flow: Flow) -> None:
    """Raise ``Unsupported`` if ``log_prob`` differs between calls: an estimate is no density."""
    if flow.is_random:
        raise Unsupported("log_prob is an estimate, which differs from call to call")


@density_check
def log_prob_of_samples_is_finite(flow: Flow, seed: int) -> Measure:
    """Samples are finite, and so is ``log_prob`` of each."""
    x = flow.sample(SAMPLES, seed)
    if not np.isfinite(x).all():
        return yes(False, f"{int((~np.isfinite(x)).any(axis=1).sum())} of {len(x)} samples are not")
    if flow.support is not None and not (held := flow.support.holds(x)).all():
        beyond = int((~held).sum())
        return yes(False, f"{beyond} of {len(x)} samples lie outside of {flow.support}")
    got = flow.log_density(x)
    wrong = int((~np.isfinite(got)).sum())
    return yes(wrong == 0, f"log_prob of {wrong} of {len(x)} samples is not finite")


@density_check
def log_prob_takes_samples(flow: Flow, seed: int) -> Measure:
    """``log_prob`` accepts samples as they are drawn, in their own dtype and on their device."""
    try:
        found = flow.log_prob_as_drawn(seed)
    except foreign() as error:
        return yes(False, f"log_prob refuses samples as they are drawn: {one_line(error)}")
    return yes(isinstance(found, torch.Tensor), f"log_prob returned {type(found).__name__}")


@density_check
def samples_are_reproducible(flow: Flow, seed: int) -> Measure:
    """The same seed gives the same samples, another seed others, and rows are not all alike."""
    first, again, other = (flow.sample(64, s) for s in (seed, seed, seed + 1))
    if not np.array_equal(first, again):
        return yes(False, "torch's global seed does not decide the samples")
    if np.array_equal(first, other):
        return yes(False, "another seed gives the same samples")
    return yes(len(np.unique(first, axis=0)) > 1, "all samples are one point")


@density_check
def temperature_is_used(flow: Flow, seed: int) -> Measure:
    """If ``sample`` takes a temperature, another one gives other samples."""
    if not flow.has_temperature:
        raise Unsupported("sample takes no temperature")
    warm, cold = flow.sample(64, seed), flow.sample(64, seed, temperature=0.5)
    same = np.array_equal(warm, cold)
    return yes(not same, "samples at temperature 0.5 are those at temperature 1, bit by bit")


@density_check
def log_prob_rows_are_independent(flow: Flow, seed: int) -> Measure:
    """``log_prob`` of a sample does not depend on the others of its batch."""
    _not_random(flow)
    x = flow.sample(8, seed)
    together = flow.log_density(x)
    alone = np.concatenate([flow.log_density(x[n : n + 1]) for n in range(len(x))])
    size = 1 + np.abs(together)
    off = np.abs(together - alone) / size
    told = f"row {int(off.argmax())} alone has another log_prob"
    return yes(bool((off <= max(COUPLED, flow.accuracy)).all()), told)


@density_check
def gradient_of_log_prob(flow: Flow, seed: int) -> Measure:
    """The gradient of ``log_prob`` for x equals central differences."""
    _not_random(flow)
    x = torch.from_numpy(flow.sample(3, seed))
    u = Arithmetic.of(flow.dtype).u
    generator = torch.Generator().manual_seed(seed)
    measures = []
    for row in x:
        leaf = row[None].clone().requires_grad_(True)
        with torch.enable_grad():
            value = flow.log_prob(leaf)
            found_at = value.requires_grad
            gradient = torch.autograd.grad(value.sum(), leaf)[0] if found_at else 0 * row
        v = torch.randn(row.shape, generator=generator, dtype=torch.float64)
        v = v / v.norm()

        def along(t: float, row: torch.Tensor = row, v: torch.Tensor = v) -> float:
            return float(flow.log_density_anywhere((row + t * v)[None].numpy())[0])

        size = abs(float(value.detach().sum())) + 1.0
        found = central_difference(along, size, u)
        if found.quality is not Quality.GOOD:
            continue
        got = float((gradient.reshape(-1).double() * v).sum())
        share = max(FINITE_DIFFERENCE, flow.accuracy**0.5)  # the adjoint of an integrator is rough
        bound = share * max(abs(found.value), 1e-3) + 4 * found.spread
        measures.append(compare(got, found.value, bound, "FD"))
    return worst(*measures) if measures else ill_conditioned("FD", detail="no difference is smooth")


@density_check
def log_prob_is_base_plus_logdet(flow: Flow, seed: int) -> Measure:
    """``log_prob(x)`` is the log-density of the base at ``z(x)`` plus ``log|det dz/dx|``."""
    parts = parts_of(flow)
    if parts is None:
        raise Unsupported("no base and no map to it under a name that is known")
    if flow.size > MOST_DIFFERENCES or flow.dtype != torch.float64:
        raise Unsupported(f"needs float64 and at most {MOST_DIFFERENCES} dimensions")
    _not_random(flow)
    x = flow.sample(3, seed)
    return sum_of_parts(parts, x, flow.log_density(x))


@density_check
def log_prob_integrates_to_one(flow: Flow, seed: int) -> Measure:
    """The integral of ``exp(log_prob)`` is 1: on a grid, beyond three dimensions by draws."""
    _not_random(flow)
    x = flow.sample(SAMPLES, seed)
    if not np.isfinite(x).all():
        return ill_conditioned("QUAD", detail="samples are not finite")
    keep_to_samples(flow, seed)
    return integral(flow, x, seed)


@density_check
def samples_follow_log_prob(flow: Flow, seed: int) -> Measure:
    """Around several samples, as many others lie as ``log_prob`` says.

    For a density ``q`` and the set ``A`` where ``q(x) <= M p(x)``, the mean of ``1_A q / p`` over
    samples of ``p`` is the share of ``q`` in ``A``, which draws of ``q`` estimate. Here ``q`` are
    normal kernels around samples, and ``M`` bounds the weight of one sample.
    """
    _not_random(flow)
    keep_to_samples(flow, seed)
    first = worst_of(kernels(flow, seed, SAMPLES))
    if first.ok or first.ill_conditioned:
        return first
    return worst_of(kernels(flow, seed + 1000, 4 * SAMPLES))
