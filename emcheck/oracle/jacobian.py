"""Explicit Jacobians of any layer by automatic differentiation in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from emcheck.oracle.precision import Array

#: Backward passes that run side by side; more would cost memory, not save time.
_CHUNK = 256

#: What torch raises where an operation has no batching rule.
_NOT_BATCHED = (RuntimeError, NotImplementedError, TypeError, ValueError)

Map = Callable[[Tensor], tuple[Tensor, Tensor]]


def explicit_jacobian(f: Map, x: Tensor) -> Array:
    """Return ``dz/dx`` as ``(n_out, n_in)`` float64, for one sample ``x (*event)``.

    ``f`` is a layer's ``forward`` or ``inverse`` with float64 parameters; it gets a batch of one.
    Entries are zero where autograd sees no path from ``x``. Backward passes run side by side, or
    one after the other if an operation does not allow that.

    Cost: one forward and ``n_out`` backward passes.
    """
    leaf = x.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        # A copy that is no leaf: a layer may change its input in place.
        z = f(leaf.clone()[None])[0].reshape(-1)
    if not z.requires_grad:
        return np.zeros((z.numel(), x.numel()))
    rows = torch.eye(z.numel(), dtype=z.dtype, device=z.device)
    try:
        J = torch.func.vmap(_puller(z, leaf), chunk_size=_CHUNK)(rows)
    except _NOT_BATCHED:
        J = torch.stack([_puller(z, leaf)(row) for row in rows])
    return np.asarray(J.detach().reshape(-1, x.numel()).cpu().numpy(), dtype=np.float64)


def _puller(z: Tensor, x: Tensor) -> Callable[[Tensor], Tensor]:
    """``row (n_out,) -> row J``, by a hook that puts ``row`` in the place of a gradient.

    ``grad_outputs`` would do, but torch imports sympy for it, which takes as long as a report.
    """
    total = z.sum()

    def pulled(row: Tensor) -> Tensor:
        hook = z.register_hook(lambda ones: row)
        try:
            found = torch.autograd.grad(total, x, retain_graph=True, allow_unused=True)[0]
        finally:
            hook.remove()
        return torch.zeros_like(x) if found is None else found

    return pulled


def central_difference(f: Callable[[Tensor], Tensor], x: Tensor, v: Tensor, step: float) -> Tensor:
    """Return ``d/dt f(x + t v)`` at 0, fourth order: Richardson on central differences.

    The truncation error is ``O(step^4)``, the rounding error ``O(u / step)``.
    """

    def slope(h: float) -> Tensor:
        return (f(x + h * v) - f(x - h * v)) / (2 * h)

    return (4 * slope(step / 2) - slope(step)) / 3
