"""A module that is a whole flow: its ``log_prob`` agrees with its own forward."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from emcheck._internal.randomness import seed_torch
from emcheck.bounds import DEVIATIONS, Measure, compare
from emcheck.checks.calling import call, call_inverse
from emcheck.checks.core import OUTSIDE, Unsupported, agree, check, ill_conditioned
from emcheck.checks.trial import Trial
from emcheck.known import Clause
from emcheck.oracle import as_extended
from emcheck.oracle.precision import Array


@check("density", Clause.LOGDET, "log_prob", "exact_logdet")
def log_prob_matches_flow(trial: Trial) -> Measure:
    """``log_prob(x) = log N(z) + logdet`` for the ``(z, logdet)`` of forward (clause 3).

    Where data are what forward returns, it is the ``(z, logdet)`` of the inverse. It is judged
    only where the numbers show that the base is a standard normal: ``log_prob`` is right, or one
    of the known mistakes explains it on every sample.
    """
    found = log_prob_of(trial)
    if found is None:
        return ill_conditioned("AGREE", math.inf, OUTSIDE)
    told = next(iter(found.mistakes()), "")
    if not found.right.ok and not told:
        raise Unsupported("log_prob fits no standard normal base, so it is not judged")
    return agree(found.got, found.base + found.logdet, found.unit, told)


#: Samples that are mapped back to the base; if they fail, four times as many are drawn anew.
SAMPLES = 2000


@check("density", Clause.LOGDET, "log_prob", "exact_logdet")
def samples_map_to_the_base(trial: Trial) -> Measure:
    """``forward`` maps what ``sample`` draws to standard normal numbers (clause 3; rule MEAN).

    It judges mean and variance of each entry, where ``log_prob`` shows that this is the base.
    """
    found = log_prob_of(trial)
    if found is None:
        return ill_conditioned("AGREE", math.inf, OUTSIDE)
    if not found.right.ok:
        raise Unsupported("log_prob fits no standard normal base")
    first = _moments(trial, found.backwards, SAMPLES, 1)
    if first.ok or first.ill_conditioned:
        return first
    return _moments(trial, found.backwards, 4 * SAMPLES, 2)


def _moments(trial: Trial, backwards: bool, count: int, stream: int) -> Measure:
    z = latents_of_samples(trial, backwards, count, trial.case.seed * 7919 + stream)
    if not np.isfinite(z).all():
        return ill_conditioned("MEAN", math.inf, OUTSIDE)
    mean, variance = z.mean(axis=0), z.var(axis=0, ddof=1)
    off = np.concatenate([mean, (variance - 1) / math.sqrt(2)])
    bound = DEVIATIONS / math.sqrt(count)
    told = "mean or variance of samples, mapped back, over that of the base"
    return compare(off, np.zeros_like(off), np.full_like(off, bound), "MEAN", detail=told)


def latents_of_samples(trial: Trial, backwards: bool, count: int, seed: int) -> Array:
    """Return what forward, or the inverse, makes of samples, ``(count, n)``."""
    x, to_base = _drawn(trial, count, seed), call_inverse if backwards else call
    return np.asarray(to_base(trial.layer, x.to(trial.x))[0].flatten(1).double().numpy())


def _drawn(trial: Trial, count: int, seed: int) -> Tensor:
    """Draw ``(count, *event)`` with the module's own ``sample``."""
    sample = getattr(density_of(trial.layer), "sample", None)
    if not callable(sample):
        raise Unsupported("the layer has no sample")
    warm = at_temperature_one(sample)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for given in (count, (count,)):
            seed_torch(seed)
            try:
                x = sample(given, **warm)
            except (TypeError, RuntimeError, ValueError, AttributeError):
                continue
            x = x[0] if isinstance(x, tuple) else x
            if isinstance(x, Tensor) and tuple(x.shape) == (count, *trial.case.event):
                return x
    raise Unsupported(f"sample(n) returns no (n, {', '.join(map(str, trial.case.event))})")


def at_temperature_one(sample: Callable[..., Any]) -> dict[str, float]:
    """Return arguments that make ``sample`` draw from the density itself, whatever its default."""
    try:
        names = inspect.signature(sample).parameters
    except (TypeError, ValueError):
        return {}
    return {name: 1.0 for name in names if name in ("temperature", "temp", "tau", "eps_std")}


@dataclass(frozen=True)
class LogProb:
    """What ``log_prob`` returned, and what it consists of, ``(B,)`` each.

    Args:
        got: what it returned.
        base: the log-density of the base, a standard normal, at the latents.
        logdet: the log-det of the map to the base.
        unit: the rounding of the sum.
        size: entries of a sample.
        backwards: whether the map to the base is the inverse.
    """

    got: Array
    base: Array
    logdet: Array
    unit: Array
    size: int
    backwards: bool

    @property
    def right(self) -> Measure:
        """How far ``got`` is from the log-density."""
        return agree(self.got, self.base + self.logdet, self.unit)

    def mistakes(self) -> list[str]:
        """What may be wrong: each of the known mistakes that gives ``got`` on every sample."""
        if self.right.ok:
            return []
        wrong = mistakes(self.base, self.logdet, self.size)
        return [told for told, value in wrong.items() if agree(self.got, value, self.unit).ok]


def mistakes(base: Array, logdet: Array, size: int) -> dict[str, Array]:
    """Return the values of a wrong ``log_prob``, by what is wrong with it.

    ``base`` is the log-density of the base, ``logdet`` the log-det of the map to it.
    """
    return {
        "log_prob subtracts the log-det": base - logdet,
        "log_prob lacks the log-det": base,
        "log_prob lacks the constant of the normal density, n/2 log(2 pi)": (
            base + 0.5 * size * math.log(2 * math.pi) + logdet
        ),
        "log_prob lacks the density of the base": logdet,
        "log_prob is the negative of the log-density": -(base + logdet),
    }


def log_prob_of(trial: Trial) -> LogProb | None:
    """``log_prob`` in the direction that fits it, right or wrong; None outside the domain."""
    module = density_of(trial.layer)
    if module is None:
        raise Unsupported("the layer has no log_prob")
    with torch.no_grad():
        got = module.log_prob(trial.x.clone())  # type: ignore[operator]
    B = len(trial.x)
    if not isinstance(got, Tensor) or tuple(got.shape) not in ((B,), (B, 1)):
        shape = tuple(got.shape) if isinstance(got, Tensor) else type(got).__name__
        raise Unsupported(f"log_prob returns {shape}, expected ({B},)")
    forwards = _consists_of(trial, got, backwards=False)
    if (forwards is not None and forwards.right.ok) or not trial.has("inverse_logdet"):
        return forwards
    ways = [found for found in (_consists_of(trial, got, backwards=True), forwards) if found]
    for fits in (lambda found: found.right.ok, lambda found: found.mistakes()):
        for found in ways:
            if fits(found):
                return found
    return forwards


def _consists_of(trial: Trial, got: Tensor, backwards: bool) -> LogProb | None:
    if backwards:
        z, logdet = call_inverse(trial.layer, trial.x)
    else:
        z, logdet = trial.forward
    if not bool(z.isfinite().all()) or not bool(logdet.isfinite().all()):
        return None
    Z = as_extended(z.flatten(1))
    base = -0.5 * (Z**2).sum(axis=1) - 0.5 * Z.shape[1] * math.log(2 * math.pi)
    if backwards:
        of_z, of_logdet = trial.inverse_bound(z, trial.x), trial.forward_bound(z)[1]
    else:
        of_z, of_logdet = trial.forward_bound(trial.x)
    moved = (np.abs(Z) * np.reshape(of_z, Z.shape)).sum(axis=1)
    unit = moved + of_logdet + 4 * Z.shape[1] * trial.arithmetic.u * (1 + np.abs(base))
    parts = as_extended(got.reshape(len(z))), base, as_extended(logdet), unit
    return LogProb(*parts, size=Z.shape[1], backwards=backwards)


def density_of(layer: nn.Module) -> nn.Module | None:
    """Return the module with ``log_prob``: the layer, or what it wraps; None if there is none."""
    while not callable(getattr(layer, "log_prob", None)):
        inner = getattr(layer, "layer", None)
        if not isinstance(inner, nn.Module):
            return None
        layer = inner
    return layer
