"""A module that is a whole flow: its ``log_prob`` agrees with its own forward."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from emcheck._internal.randomness import seed_torch
from emcheck.bounds import DEVIATIONS, Measure, compare
from emcheck.checks.calling import call
from emcheck.checks.core import OUTSIDE, Unsupported, agree, check, ill_conditioned
from emcheck.checks.trial import Trial
from emcheck.known import Clause
from emcheck.oracle import as_extended
from emcheck.oracle.precision import Array


@check("density", Clause.LOGDET, "log_prob", "exact_logdet")
def log_prob_matches_flow(trial: Trial) -> Measure:
    """``log_prob(x) = log N(z) + logdet`` for the ``(z, logdet)`` of forward (clause 3).

    It is judged only where the numbers show that the base is a standard normal: ``log_prob`` is
    right, or one of the known mistakes explains it on every sample.
    """
    found = log_prob_of(trial)
    if found is None:
        return ill_conditioned("AGREE", math.inf, OUTSIDE)
    got, base, logdet, unit = found
    right = agree(got, base + logdet, unit)
    if right.ok:
        return right
    for told, wrong in mistakes(base, logdet, trial.x[0].numel()).items():
        if agree(got, wrong, unit).ok:
            return agree(got, base + logdet, unit, told)
    raise Unsupported("the base is no standard normal, so log_prob is not judged")


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
    got, base, logdet, unit = found
    if not agree(got, base + logdet, unit).ok:
        raise Unsupported("the base is no standard normal, as far as log_prob shows")
    first = _moments(trial, SAMPLES, 1)
    return first if first.ok or first.ill_conditioned else _moments(trial, 4 * SAMPLES, 2)


def _moments(trial: Trial, count: int, stream: int) -> Measure:
    z = latents_of_samples(trial, count, trial.case.seed * 7919 + stream)
    if not np.isfinite(z).all():
        return ill_conditioned("MEAN", math.inf, OUTSIDE)
    mean, variance = z.mean(axis=0), z.var(axis=0, ddof=1)
    off = np.concatenate([mean, (variance - 1) / math.sqrt(2)])
    bound = DEVIATIONS / math.sqrt(count)
    told = "mean or variance of samples, mapped back, over that of the base"
    return compare(off, np.zeros_like(off), np.full_like(off, bound), "MEAN", detail=told)


def latents_of_samples(trial: Trial, count: int, seed: int) -> Array:
    """Return the images of samples under forward, ``(count, n)``."""
    x = _drawn(trial, count, seed)
    return np.asarray(call(trial.layer, x.to(trial.x))[0].flatten(1).double().numpy())


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


def log_prob_of(trial: Trial) -> tuple[Array, Array, Array, Array] | None:
    """``log_prob``, log-density of the base, log-det and rounding; None outside the domain."""
    module = density_of(trial.layer)
    if module is None:
        raise Unsupported("the layer has no log_prob")
    z, logdet = trial.forward
    with torch.no_grad():
        got = module.log_prob(trial.x.clone())  # type: ignore[operator]
    B = len(trial.x)
    if not isinstance(got, Tensor) or tuple(got.shape) not in ((B,), (B, 1)):
        shape = tuple(got.shape) if isinstance(got, Tensor) else type(got).__name__
        raise Unsupported(f"log_prob returns {shape}, expected ({B},)")
    if not bool(z.isfinite().all()) or not bool(logdet.isfinite().all()):
        return None
    Z = as_extended(z.flatten(1))
    base = -0.5 * (Z**2).sum(axis=1) - 0.5 * Z.shape[1] * math.log(2 * math.pi)
    of_z, of_logdet = trial.forward_bound(trial.x)
    moved = (np.abs(Z) * np.reshape(of_z, Z.shape)).sum(axis=1)
    unit = moved + of_logdet + 4 * Z.shape[1] * trial.arithmetic.u * (1 + np.abs(base))
    return as_extended(got.reshape(B)), base, as_extended(logdet), unit


def density_of(layer: nn.Module) -> nn.Module | None:
    """Return the module with ``log_prob``: the layer, or what it wraps; None if there is none."""
    while not callable(getattr(layer, "log_prob", None)):
        inner = getattr(layer, "layer", None)
        if not isinstance(inner, nn.Module):
            return None
        layer = inner
    return layer
