"""Gradients: of both outputs, in both directions, for the input and every parameter."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from emcheck import bounds
from emcheck.bounds import FINITE_DIFFERENCE, FINITE_DIFFERENCE_STEPS, Measure, too_ill
from emcheck.checks.calling import call, call_inverse, forward_of, inverse_of
from emcheck.checks.case import Case, Subject
from emcheck.checks.core import Unsupported, agree_tensors, check, worst, yes
from emcheck.checks.trial import Trial
from emcheck.oracle import condition_number

#: ``output(layer, x)`` is one of the four outputs of a layer, ``(B, ...)``.
Output = Callable[[nn.Module, Tensor], Tensor]


def _smooth(case: Case, subject: Subject) -> Case:
    """Gradients are checked in float64, on small events, away from ill-conditioned states."""
    style = "mixed" if case.style in ("ill", "mixed") else "trained"
    smooth = replace(case, dtype=torch.float64, style=style, scale="unit", batch=max(case.batch, 1))
    return subject.clip(smooth, 3, 4)


@check("gradients", adapt=_smooth)
def gradient_of_latent(trial: Trial) -> Measure:
    """Gradients of ``z`` for x and every parameter equal central differences (clause 7)."""
    return _against_differences(trial, lambda layer, x: forward_of(layer, x)[0], trial.x)


@check("gradients", "exact_logdet", adapt=_smooth)
def gradient_of_logdet(trial: Trial) -> Measure:
    """Gradients of the log-det alone equal central differences (clause 7)."""
    return _against_differences(trial, lambda layer, x: forward_of(layer, x)[1], trial.x)


@check(
    "gradients",
    "inverse_logdet",
    "inverse_gradient",
    "exact_inverse",
    "exact_logdet",
    adapt=_smooth,
)
def gradient_of_inverse_logdet(trial: Trial) -> Measure:
    """Gradients of the inverse's log-det equal central differences (clause 7)."""
    return _against_differences(trial, lambda layer, z: inverse_of(layer, z)[1], trial.latent)


def _against_differences(trial: Trial, output: Output, x: Tensor) -> Measure:
    layer, x = copy.deepcopy(trial.layer), x.clone()
    out = output(layer, x).detach()
    generator = trial.case.generator(7)
    weight = torch.randn(out.shape, generator=generator, dtype=torch.float64).to(out)
    floor = float(weight.abs().sum()) * x[0].numel()  # sums inside a log-det have n terms
    size = float((weight * out).abs().sum()) + floor

    def scalar() -> Tensor:
        return (weight * output(layer, x)).sum()

    tensors = {"x": x, **trainable(layer)}
    gradients = _gradients(scalar, tensors)
    measures = []
    for name, tensor in tensors.items():
        v = torch.randn(tensor.shape, generator=generator, dtype=torch.float64).to(tensor)
        slope = float((gradients[name] * v).sum())
        measures.append(_best_step(scalar, tensor, v, slope, size, name))
    return worst(*measures)


def trainable(layer: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that ask for a gradient; frozen ones are constants."""
    return {name: p for name, p in layer.named_parameters() if p.requires_grad}


def _gradients(scalar: Callable[[], Tensor], tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Gradients by autograd; a missing one counts as zero, and is then compared like any."""
    tensors["x"].requires_grad_(True)
    value = scalar()
    wanted = {name: t for name, t in tensors.items() if t.requires_grad}
    found: tuple[Tensor | None, ...] = (None,) * len(wanted)
    if value.requires_grad:
        found = torch.autograd.grad(value, list(wanted.values()), allow_unused=True)
    tensors["x"].requires_grad_(False)
    known = dict(zip(wanted, found, strict=True))
    return {
        name: torch.zeros_like(t) if known.get(name) is None else known[name]  # type: ignore[misc]
        for name, t in tensors.items()
    }


def _best_step(
    scalar: Callable[[], Tensor], tensor: Tensor, v: Tensor, slope: float, size: float, name: str
) -> Measure:
    """``slope`` against central differences of ``scalar`` as ``tensor`` moves along ``v``."""
    base, found = tensor.detach().clone(), []
    limit = FINITE_DIFFERENCE * (size + abs(slope))
    with torch.no_grad():
        for step in FINITE_DIFFERENCE_STEPS:
            difference = _difference(scalar, tensor, base, step * v)
            if difference is not None:
                found.append(bounds.compare(slope, difference / (2 * step), limit, "FD"))
        tensor.data.copy_(base)
    if not found:
        raise Unsupported(f"no step from {name} stays in the domain")
    best = min(found, key=lambda measure: measure.ratio)
    return best if best.ok else replace(best, detail=f"gradient for {name}")


def _difference(
    scalar: Callable[[], Tensor], tensor: Tensor, base: Tensor, step: Tensor
) -> float | None:
    """``scalar`` at ``base + step`` minus that at ``base - step``; None outside the domain."""
    try:
        tensor.data.copy_(base + step)
        up = float(scalar())
        tensor.data.copy_(base - step)
        return up - float(scalar())
    except Exception:  # at the base itself it has answered
        return None


@check("gradients", "inverse", "inverse_gradient", "exact_inverse", adapt=_smooth)
def gradient_of_inverse(trial: Trial) -> Measure:
    """Gradients through ``inverse`` equal the implicit formula ``J^-T g`` (clause 7).

    With ``z = f(x, theta)``: ``dx/dz = J^-1`` and ``dx/dtheta = -J^-1 df/dtheta``.
    """
    layer = copy.deepcopy(trial.layer)
    z = trial.latent[:1].clone().requires_grad_(True)
    x = inverse_of(layer, z)[0]
    g = torch.randn(x.shape, generator=trial.case.generator(8), dtype=torch.float64).to(x)
    parameters = trainable(layer) if trial.has("free_parameters") else {}
    found = _grad_or_zeros((g * x).sum(), [z, *parameters.values()])
    J = trial.jacobian(x[0].detach())
    kappa = condition_number(J)
    unit = bounds.dense_logdet(len(J), kappa, 1, 0.0, trial.arithmetic)  # n kappa u
    if too_ill(kappa, trial.arithmetic.u * len(J) * kappa):
        return Measure(np.inf, "T9", kappa, ill_conditioned=True)
    adjoint = np.linalg.solve(J.T, g.detach().cpu().numpy().reshape(-1))
    pull = torch.from_numpy(adjoint).to(z).reshape(z.shape)
    fixed = x.detach().clone()
    forward = (-pull * forward_of(layer, fixed.clone())[0]).sum()
    expected = [pull, *_grad_or_zeros(forward, list(parameters.values()))]
    size = float(pull.norm()) * (1 + float(fixed.norm()) + float(z.detach().norm()))
    measures = []
    for name, got, wanted in zip(["z", *parameters], found, expected, strict=True):
        error = float((got - wanted).detach().norm())
        limit = unit * (size + float(wanted.detach().norm()))
        here = bounds.compare(error, 0.0, limit, "T9", kappa)
        told = "" if here.ok else f"gradient for {name} is off by {error:.3g}"
        measures.append(replace(here, detail=told))
    return worst(*measures)


def _grad_or_zeros(value: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    if not value.requires_grad or not tensors:
        return [torch.zeros_like(t) for t in tensors]
    found = torch.autograd.grad(value, list(tensors), allow_unused=True)
    return [torch.zeros_like(t) if g is None else g for g, t in zip(found, tensors, strict=True)]


#: A narrow ReLU network can be dead by chance; a dead parameter is dead in every draw.
_DRAWS = 12


def _two_channels(case: Case, subject: Subject) -> Case:
    """With one channel a reflection is -1 whatever its vector, and triangles are empty."""
    smooth = _smooth(case, subject)
    if not subject.any_channels:
        return smooth
    return replace(smooth, event=(max(smooth.event[0], 2), *smooth.event[1:]))


@check("gradients", adapt=_two_channels)
def no_dead_parameter(trial: Trial) -> Measure:
    """Every parameter that requires a gradient gets a nonzero one somewhere (clause 7)."""
    if trial.case.event[0] == 1 and trial.subject.own:
        raise Unsupported(
            "one channel: a reflection is -1 whatever its vector, triangles are empty"
        )
    layer = trial.new_layer()
    waiting = {name for name, p in layer.named_parameters() if p.requires_grad}
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


@check("gradients", adapt=_smooth)
def jvp_agrees(trial: Trial) -> Measure:
    """Forward-mode derivatives equal the Jacobian times the direction, in both directions."""
    v = trial.sample(9, batch=1)
    forward = _pushed(trial, trial.x[:1], v, inverse=False)
    if not (trial.has("inverse_gradient") and trial.has("exact_inverse")):
        return forward
    w = trial.forward[0][:1]
    backward = _pushed(trial, w, v.reshape(w.shape), inverse=True)
    return worst(forward, backward)


def _pushed(trial: Trial, x: Tensor, v: Tensor, inverse: bool) -> Measure:
    """``jvp`` at ``x`` along ``v`` against the explicit Jacobian by reverse mode."""
    layer, direction = trial.layer, inverse_of if inverse else forward_of
    try:
        _, dz = torch.func.jvp(lambda one: direction(layer, one)[0], (x,), (v,))  # type: ignore[misc]
    except (RuntimeError, NotImplementedError) as error:
        raise _unless_own(trial, "forward-mode derivatives", error) from error
    J = trial.jacobian(x[0], inverse=inverse)
    along = v.cpu().numpy().reshape(-1)
    expected, size = J @ along, np.abs(J) @ np.abs(along)
    off = dz.detach().cpu().numpy().reshape(-1) - expected
    kappa = condition_number(J) if inverse else 1.0  # both are solutions of a linear system
    scale = trial.arithmetic.u * len(J) * kappa * (size.max() + np.abs(expected).max())
    detail = "the inverse's derivative differs" if inverse else "the forward derivative differs"
    return Measure(bounds.ratio(off, scale), "T9", kappa, detail=detail)


@check("gradients", adapt=_smooth)
def vmap_agrees(trial: Trial) -> Measure:
    """``vmap`` over an extra dimension equals a loop, in both directions."""
    layer, stack = trial.layer, torch.stack([trial.x, trial.sample(9)])
    try:
        with torch.no_grad():
            z, logdet = torch.func.vmap(lambda x: forward_of(layer, x))(stack)
            if trial.has("inverse"):
                xh, _ = torch.func.vmap(lambda z: inverse_of(layer, z))(z)
    except (RuntimeError, NotImplementedError) as error:
        raise _unless_own(trial, "vmap", error) from error
    measures = []
    for n in range(len(stack)):
        expected, expected_logdet = call(trial.layer, stack[n])
        of_z, of_logdet = trial.forward_bound(stack[n])
        measures.append(agree_tensors(z[n], expected, of_z))
        measures.append(agree_tensors(logdet[n], expected_logdet, of_logdet))
        if trial.has("inverse"):
            limit = trial.inverse_bound(stack[n], z[n])
            back, _ = call_inverse(trial.layer, z[n])
            measures.append(agree_tensors(xh[n], back, limit))
    return worst(*measures)


def _unless_own(trial: Trial, what: str, error: Exception) -> Exception:
    """Others' layers need not support a transform; this project's must."""
    return error if trial.subject.own else Unsupported(f"{what}: {str(error).splitlines()[0]}")
