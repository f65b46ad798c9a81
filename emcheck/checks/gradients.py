"""Gradients: of both outputs, in both directions, for the input and every parameter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from emcheck import bounds
from emcheck._internal.parts import norm, parts
from emcheck.bounds import (
    DIFFERENCE_NOISE,
    DIFFERENCE_SPREAD,
    DIFFERENCES_AGREE,
    FINITE_DIFFERENCE,
    Measure,
    too_ill,
)
from emcheck.checks.calling import forward_of, inverse_of
from emcheck.checks.case import Case, Subject
from emcheck.checks.core import (
    OUTSIDE,
    Unsupported,
    check,
    ill_conditioned,
    worst,
    yes,
)
from emcheck.checks.differences import Quality
from emcheck.checks.slopes import Output, Slopes
from emcheck.checks.smooth import smooth
from emcheck.checks.trial import Trial
from emcheck.known import Clause
from emcheck.oracle import condition_number


@check("gradients", Clause.GRADIENTS, "gradient", adapt=smooth)
def gradient_of_latent(trial: Trial) -> Measure:
    """Gradients of ``z`` for x and for every parameter equal central differences (clause 7)."""
    return _against_differences(trial, lambda layer, x: forward_of(layer, x)[0], trial.x)


@check("gradients", Clause.GRADIENTS, "gradient", "exact_logdet", adapt=smooth)
def gradient_of_logdet(trial: Trial) -> Measure:
    """Gradients of the log-det alone equal central differences (clause 7).

    Samples whose latent overflows are outside: autograd meets infinities on the way to the log-det.
    """
    z = trial.forward[0]
    finite = z.isfinite().reshape(len(z), math.prod(z.shape[1:])).all(dim=1)
    x = trial.x[finite] if len(z) == len(trial.x) else trial.x
    if not len(x):
        return ill_conditioned("FD", detail=OUTSIDE)
    return _against_differences(trial, lambda layer, x: forward_of(layer, x)[1], x)


@check(
    "gradients",
    Clause.GRADIENTS,
    "inverse_logdet",
    "inverse_gradient",
    "exact_inverse",
    "exact_logdet",
    adapt=smooth,
)
def gradient_of_inverse_logdet(trial: Trial) -> Measure:
    """Gradients of the inverse's log-det equal central differences (clause 7)."""
    return _against_differences(trial, lambda layer, z: inverse_of(layer, z)[1], trial.latent)


def _against_differences(trial: Trial, output: Output, x: Tensor) -> Measure:
    """Move all tensors at once; only if that is wrong or unclear, move them one by one.

    A gradient that is wrong for one tensor is wrong along a random direction of all of them.
    """
    slopes = Slopes.of(trial.new_layer, output, x, trial.case.generator(7))
    if slopes is None:
        return ill_conditioned("FD", detail=OUTSIDE)
    together = _judged(slopes, slopes.names)
    if together.ok and not together.ill_conditioned:
        return together
    return worst(*(_judged(slopes, [name]) for name in slopes.names))


def _judged(slopes: Slopes, names: Sequence[str]) -> Measure:
    """Compare the gradient by autograd, along the direction of some tensors, with differences."""
    got, size = slopes.gradient(names), slopes.size
    told = f"gradient for {names[0]}" if len(names) == 1 else ""
    found = slopes.difference(names)
    if found.quality is not Quality.GOOD:
        return ill_conditioned("FD", detail=f"{told}: {found.quality.value}".lstrip(": "))
    if not math.isfinite(got):
        told = f"{told} is {got:g}, by differences it is {found.value:.6g}"
        return Measure(math.inf, "FD", detail=told, got=got, expected=found.value)
    scale = max(abs(got), abs(found.value), DIFFERENCES_AGREE * size)
    if found.spread > DIFFERENCES_AGREE * scale:
        unclear = f"{told}: {Quality.UNRELIABLE.value}".lstrip(": ")
        return ill_conditioned("FD", detail=unclear)
    limit = FINITE_DIFFERENCE * (size + abs(got)) * slopes.precision
    limit += DIFFERENCE_SPREAD * found.spread
    best = bounds.compare(got, found.value, limit, "FD")
    if best.ok:
        return best
    # Where digits are lost, small steps lie between two roundings and agree on a wrong slope.
    for step, value in found.steps:
        scatter = slopes.noise(names, step)
        spare = DIFFERENCE_NOISE * scatter / step if math.isfinite(scatter) else 0.0
        if bounds.compare(got, value, limit + spare, "FD").ok:
            unclear = f"{told}: {Quality.NOISY.value}".lstrip(": ")
            return ill_conditioned("FD", detail=unclear)
    return replace(best, detail=told)


def trainable(layer: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that require a gradient and are not empty."""
    return {n: p for n, p in layer.named_parameters() if p.requires_grad and p.numel()}


@check("gradients", Clause.GRADIENTS, "inverse", "inverse_gradient", "exact_inverse", adapt=smooth)
def gradient_of_inverse(trial: Trial) -> Measure:
    """Gradients through ``inverse`` equal the implicit formula ``J^-T g`` (clause 7).

    With ``z = f(x, theta)``: ``dx/dz = J^-1`` and ``dx/dtheta = -J^-1 df/dtheta``.
    """
    layer = trial.layer if trial.is_large else trial.new_layer()
    z = trial.latent[:1].clone().requires_grad_(True)
    if not bool(z.detach().isfinite().all()):
        return ill_conditioned("T9", detail=OUTSIDE)
    if not trial.subject.is_defined and trial.judgeable(trial.preimage[0], z[0].detach())[1]:
        return ill_conditioned("T9", detail="the layer saturates")
    x = inverse_of(layer, z.clone())[0]
    g = torch.randn(x.shape, generator=trial.case.generator(8), dtype=torch.float64).to(x)
    parameters = trainable(layer) if trial.has("free_parameters") else {}
    back = (g * x).sum()  # its gradients are taken before forward is called, unless they are large
    pulled, *found = _grad_or_zeros(back, [z, *([] if trial.is_large else parameters.values())])
    if not bool(x.detach().isfinite().all()):
        return Measure(np.inf, "T9", detail="the inverse of an image is not finite")
    J = trial.jacobian(x[0].detach())
    kappa = condition_number(J)
    if not trial.subject.is_defined:
        kappa = max(kappa, trial.judgeable(x[0].detach(), z[0].detach())[0])
    unit = bounds.dense_logdet(len(J), kappa, 1, 0.0, trial.arithmetic)  # n kappa u
    if too_ill(kappa, trial.arithmetic.u * len(J) * kappa):
        return Measure(np.inf, "T9", kappa, ill_conditioned=True)
    adjoint = np.linalg.solve(J.T, g.detach().cpu().numpy().reshape(-1))
    pull = torch.from_numpy(adjoint).to(z).reshape(z.shape)
    fixed = x.detach().clone()
    forward = (-pull * forward_of(layer, fixed.clone())[0]).sum()
    size = float(pull.norm()) * (1 + float(fixed.norm()) + float(z.detach().norm()))

    def judged(name: str, got: Tensor, wanted: Tensor) -> Measure:
        error = norm(*((a - b).detach() for a, b in parts(got, wanted)))
        limit = unit * (size + norm(wanted.detach()))
        here = bounds.compare(error, 0.0, limit, "T9", kappa)
        return replace(here, detail="" if here.ok else f"gradient for {name} is off by {error:.3g}")

    measures = [judged("z", pulled, pull)]
    if trial.is_large:  # one gradient at a time
        for name, p in parameters.items():
            pair = _grad_or_zeros(back, [p])[0], _grad_or_zeros(forward, [p])[0]
            measures.append(judged(name, *pair))
    else:
        expected = _grad_or_zeros(forward, list(parameters.values()))
        measures += map(judged, parameters, found, expected)
    return worst(*measures)


def _grad_or_zeros(value: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    if not value.requires_grad or not tensors:
        return [torch.zeros_like(t) for t in tensors]
    found = torch.autograd.grad(value, list(tensors), retain_graph=True, allow_unused=True)
    return [torch.zeros_like(t) if g is None else g for g, t in zip(found, tensors, strict=True)]


#: Draws: a narrow ReLU network can be dead in one by chance, a dead parameter is dead in all.
_DRAWS = 12


def _two_of_each(case: Case, subject: Subject) -> Case:
    """Return a case with two channels, rows and columns or more, where the subject allows it.

    With one channel, reflections are -1 and triangles empty; with one row, no row comes before it.
    """
    found = replace(smooth(case, subject), scale="unit")
    C, *space = found.event
    if subject.any_channels:
        C = max(C, 2)
    if subject.any_size:
        space = [max(size, 2 * subject.multiple(found)) for size in space]
    return replace(found, event=(C, *space))


@check("gradients", Clause.GRADIENTS, "gradient", adapt=_two_of_each)
def no_dead_parameter(trial: Trial) -> Measure:
    """Every parameter that requires a gradient gets a nonzero one somewhere (clause 7)."""
    if trial.case.event[0] == 1 and trial.subject.own:
        raise Unsupported(
            "one channel: a reflection is -1 whatever its vector, triangles are empty"
        )
    layer = trial.new_layer()
    waiting = set(trainable(layer))
    for draw in range(_DRAWS):
        if not waiting:
            break
        x = trial.sample(10 + draw, batch=4)
        trial.move(layer, 30 + draw)
        z, logdet = forward_of(layer, x)
        weight = torch.randn(z.shape, generator=trial.case.generator(50), dtype=z.dtype).to(z)
        names = sorted(waiting)
        parameters = [layer.get_parameter(name) for name in names]
        found = _grad_or_zeros((weight * z).sum() + logdet.sum(), parameters)
        waiting -= {name for name, g in zip(names, found, strict=True) if bool((g != 0).any())}
    return yes(not waiting, f"no gradient ever reaches {', '.join(sorted(waiting))}")
