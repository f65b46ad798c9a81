"""Log-dets that are random estimates: tests, with a stated power, that their mean is right."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from emcheck._internal.randomness import seed_torch
from emcheck.adapters.conventions import Estimated
from emcheck.bounds import (
    DEVIATIONS,
    DIFFERENCE_SPREAD,
    FINITE_DIFFERENCE,
    Measure,
    compare,
)
from emcheck.checks.calling import forward_of, is_per_sample, per_sample
from emcheck.checks.core import Unsupported, check, ill_conditioned, worst, yes
from emcheck.checks.differences import Difference, Quality, central_difference
from emcheck.checks.smooth import smooth
from emcheck.checks.trial import Trial
from emcheck.known import Clause
from emcheck.oracle import explicit_jacobian, slogdet
from emcheck.oracle.precision import Array

#: Draws of each estimate; if their mean seems wrong, ``AGAIN`` times as many are drawn anew.
DRAWS, AGAIN = 256, 4


@check("logdet", Clause.LOGDET, "estimated")
def logdet_is_unbiased(trial: Trial) -> Measure:
    """The mean of the estimates of ``forward`` is log|det| of its Jacobian (clause 3; MEAN)."""
    return _unbiased(trial, inverse=False)


@check("logdet", Clause.LOGDET, "estimated", "inverse")
def inverse_logdet_is_unbiased(trial: Trial) -> Measure:
    """The mean of the estimates of ``inverse`` is log|det| of its Jacobian (clause 3; MEAN)."""
    if trial.layer.inverse(trial.latent.clone())[1] is None:  # type: ignore[operator]
        raise Unsupported("inverse returns x alone, without a log-det")
    return _unbiased(trial, inverse=True)


@check("gradients", Clause.GRADIENTS, "estimated", "gradient", adapt=smooth)
def gradient_of_estimate_is_unbiased(trial: Trial) -> Measure:
    """The mean gradient of the estimates is that of log|det| of the Jacobian (clause 7; MEAN).

    It is judged along one direction of ``x`` and all parameters together.
    """
    exact = _slope_of_logdet(trial)
    if exact.quality is not Quality.GOOD:
        return ill_conditioned("MEAN", detail=f"no difference of log|det| judges: {exact.quality}")
    room = FINITE_DIFFERENCE * max(abs(exact.value), 1.0) + DIFFERENCE_SPREAD * exact.spread
    truth, unit = np.array([exact.value]), np.array([room])
    first = judged(slopes_of_estimates(trial, DRAWS, 4), truth, unit)
    return first if first.ok else judged(slopes_of_estimates(trial, AGAIN * DRAWS, 5), truth, unit)


def _direction(trial: Trial, layer: nn.Module, x: Tensor) -> list[Tensor]:
    """Return a random direction of ``x`` and of the trainable parameters, each by its own size."""
    generator = trial.case.generator(33)
    leaves = [x, *(p for p in layer.parameters() if p.requires_grad)]
    return [
        torch.randn(leaf.shape, generator=generator, dtype=torch.float64).to(leaf)
        * max(float(leaf.detach().abs().mean()) if leaf.numel() else 0.0, 0.1)
        for leaf in leaves
    ]


def _slope_of_logdet(trial: Trial) -> Difference:
    """Return the derivative of the exact log-det along the direction, by central differences."""
    x = trial.x[:1]
    along, *of_parameters = _direction(trial, trial.new_layer(), x)

    def logdet(t: float) -> float:
        layer = trial.new_layer()
        with torch.no_grad():
            moved = [p for p in layer.parameters() if p.requires_grad]
            for parameter, step in zip(moved, of_parameters, strict=True):
                parameter.add_(t * step)
        J = explicit_jacobian(lambda one: forward_of(layer, one.clone()), (x + t * along)[0])
        return slogdet(J)[0]

    return central_difference(logdet, 1 + abs(logdet(0.0)), trial.arithmetic.u)


def slopes_of_estimates(trial: Trial, count: int, stream: int) -> Array:
    """Return ``(count, 1)`` derivatives of independent estimates along the direction."""
    layer, x, found = trial.new_layer(), trial.x[:1], []
    assert isinstance(layer, Estimated)
    direction = _direction(trial, layer, x)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        seed_torch(trial.case.seed * 7919 + stream)
        for _ in range(count):
            leaf = x.clone().requires_grad_(True)
            leaves = [leaf, *(p for p in layer.parameters() if p.requires_grad)]
            one = per_sample(layer.estimate(leaf), leaf, "forward").sum()
            if not one.requires_grad:
                found.append(0.0)
                continue
            gradients = torch.autograd.grad(one, leaves, allow_unused=True)
            pairs = zip(gradients, direction, strict=True)
            found.append(sum(float((g * d).sum()) for g, d in pairs if g is not None))
    return np.array(found)[:, None]


def _unbiased(trial: Trial, inverse: bool) -> Measure:
    value = trial.latent if inverse else trial.x
    expected, rounding = [], []
    for one in value:
        J = trial.jacobian(one, inverse)
        logdet, kappa = slogdet(J)
        if not math.isfinite(logdet):
            return ill_conditioned("MEAN", math.inf, "the Jacobian is singular")
        expected.append(logdet)
        rounding.append(trial.jacobian_logdet_unit(len(J), kappa, logdet))
    exact, unit = np.array(expected), np.array(rounding)
    wrong = _shape_of(trial, value, inverse)
    if wrong is not None:
        return wrong
    first = judged(draws(trial, value, inverse, DRAWS, 1), exact, unit)
    if first.ok:
        return first
    return judged(draws(trial, value, inverse, AGAIN * DRAWS, 2), exact, unit)


def _shape_of(trial: Trial, value: Tensor, inverse: bool) -> Measure | None:
    """Return a failure if the log-det has another shape: it is wrong whatever its mean."""
    layer = trial.layer
    assert isinstance(layer, Estimated)
    with torch.no_grad():
        one = layer.estimate(value.clone(), inverse)
    if one is not None and is_per_sample(one, len(value)):
        return None
    got = tuple(one.shape) if isinstance(one, Tensor) else type(one).__name__
    return yes(False, f"expected an estimate of shape ({len(value)},), got {got}")


def draws(trial: Trial, value: Tensor, inverse: bool, count: int, stream: int) -> Array:
    """Return ``(count, B)`` independent estimates, one call each: a batch may share its noise."""
    layer, found = trial.new_layer(), []
    assert isinstance(layer, Estimated)
    direction = "inverse" if inverse else "forward"
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        seed_torch(trial.case.seed * 7919 + stream)
        for _ in range(count):
            one = per_sample(layer.estimate(value.clone(), inverse), value, direction)
            found.append(one.double().numpy())
    return np.stack(found)


def judged(found: Array, exact: Array, unit: Array) -> Measure:
    """Measure the distance of the mean from the truth over what chance and rounding explain."""
    mean, error = found.mean(axis=0), found.std(axis=0, ddof=1) / math.sqrt(len(found))
    limit = DEVIATIONS * error + unit
    told = f"mean of {len(found)} estimates; a bias of {limit.max():.2g} would have been seen"
    return worst(
        *(compare(mean[n], exact[n], limit[n], "MEAN", detail=told) for n in range(len(mean)))
    )
