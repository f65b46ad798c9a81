"""Transforms of torch: forward mode and vmap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

from emcheck import bounds
from emcheck.bounds import (
    Measure,
)
from emcheck.checks.calling import call, call_inverse, forward_of, inverse_of
from emcheck.checks.case import Case, Subject
from emcheck.checks.core import (
    Unsupported,
    agree_tensors,
    check,
    worst,
)
from emcheck.checks.smooth import smooth
from emcheck.checks.trial import Trial
from emcheck.guard import foreign, one_line
from emcheck.known import Clause
from emcheck.oracle import condition_number


def load_transforms(own: bool) -> None:
    """Load the transforms of torch that the checks need; the first ``jvp`` takes seconds.

    A time limit that ends an import leaves half a module behind.
    """
    x = torch.ones(2)
    torch.func.vmap(torch.sin)(x)
    if own:
        torch.func.jvp(torch.sin, (x,), (x,))


def _ordinary(case: Case, subject: Subject) -> Case:
    return replace(smooth(case, subject), scale="unit")


@check("gradients", Clause.GRADIENTS, "transforms", adapt=_ordinary)
def jvp_agrees(trial: Trial) -> Measure:
    """Forward-mode derivatives equal the Jacobian times the direction, in both directions.

    Without an ``autograd.Function`` of its own, a layer has no rule that could be wrong.
    """
    if not trial.subject.own and not _has_own_rules(trial):
        raise Unsupported("every step is torch's own: there is no autograd.Function to check")
    v = trial.sample(9, batch=1)
    forward = _pushed(trial, trial.x[:1], v, inverse=False)
    if not (trial.has("inverse_gradient") and trial.has("exact_inverse")):
        return forward
    w = trial.forward[0][:1]
    if not trial.subject.is_defined and trial.judgeable(trial.x[0], w[0])[1]:
        return forward  # saturated: nothing is left of the inverse to compare
    backward = _pushed(trial, w, v.reshape(w.shape), inverse=True)
    return worst(forward, backward)


def _has_own_rules(trial: Trial) -> bool:
    """Whether the graph of a call holds an ``autograd.Function``, or there is no graph to see."""
    with torch.enable_grad():
        outputs = [forward_of(trial.layer, trial.x[:1].clone().requires_grad_(True))[0]]
        if trial.has("inverse"):
            latent = trial.latent[:1].clone().requires_grad_(True)
            outputs.append(inverse_of(trial.layer, latent)[0])
    waiting, seen = [output.grad_fn for output in outputs], set()
    if any(node is None for node in waiting):
        return True
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            return True
        seen.add(node)
        waiting += [following for following, _ in node.next_functions]
    return False


def _by_transform(f: Callable[[Tensor], Tensor], x: Tensor, v: Tensor) -> Tensor:
    """Return the derivative by ``torch.func.jvp``; loading it costs two seconds."""
    dz: Tensor = torch.func.jvp(f, (x,), (v,))[1]
    return dz


def _by_dual_numbers(f: Callable[[Tensor], Tensor], x: Tensor, v: Tensor) -> Tensor:
    """Return the same derivative by ``torch.autograd.forward_ad``; 0 where nothing depends on x."""
    with torch.no_grad(), forward_ad.dual_level():
        primal, tangent = forward_ad.unpack_dual(f(forward_ad.make_dual(x, v)))
    return torch.zeros_like(primal) if tangent is None else tangent


def _pushed(trial: Trial, x: Tensor, v: Tensor, inverse: bool) -> Measure:
    """Compare ``jvp`` at ``x`` along ``v`` with the explicit Jacobian by reverse mode."""
    layer, direction = trial.layer, inverse_of if inverse else forward_of
    push = _by_transform if trial.subject.own else _by_dual_numbers
    try:
        dz = push(lambda one: direction(layer, one.clone())[0], x, v)
    except foreign() as error:  # some catch what torch raises, and raise their own
        raise _unless_own(trial, "forward-mode derivatives", error) from error
    J = trial.by_autograd(x[0]) if inverse else trial.jacobian(x[0])
    along = v.cpu().numpy().reshape(-1)
    expected, size = J @ along, np.abs(J) @ np.abs(along)
    off = dz.detach().cpu().numpy().reshape(-1) - expected
    kappa = condition_number(J) if inverse else 1.0  # both are solutions of a linear system
    scale = trial.arithmetic.u * len(J) * kappa * (size.max() + np.abs(expected).max())
    detail = "the inverse's derivative differs" if inverse else "the forward derivative differs"
    return Measure(bounds.ratio(off, scale), "T9", kappa, detail=detail)


@check("gradients", Clause.GRADIENTS, "transforms", adapt=_ordinary)
def vmap_agrees(trial: Trial) -> Measure:
    """``vmap`` over an extra dimension equals a loop, in both directions."""
    layer, stack = trial.layer, torch.stack([trial.x, trial.sample(9)])
    try:
        with torch.no_grad():
            z, logdet = torch.func.vmap(lambda x: forward_of(layer, x))(stack)
            if trial.has("inverse"):
                xh, _ = torch.func.vmap(lambda z: inverse_of(layer, z))(z)
    except foreign() as error:  # some catch what torch raises, and raise their own
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


def _unless_own(trial: Trial, what: str, error: BaseException) -> BaseException:
    """Return the error for this project's layers; others need not support a transform."""
    return error if trial.subject.own else Unsupported(f"{what}: {one_line(error)}")
