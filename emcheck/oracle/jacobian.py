"""Explicit Jacobians of any layer by automatic differentiation in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from emcheck.oracle.precision import Array

#: Backward passes that run side by side; more would cost memory, not save time.
_CHUNK = 256

#: Rows up to which one backward pass after the other is faster, and needs nothing that torch loads
#: only when it is first used.
FEW = 6

#: What torch raises where an operation has no batching rule.
_NOT_BATCHED = (RuntimeError, NotImplementedError, TypeError, ValueError)

Map = Callable[[Tensor], tuple[Tensor, Tensor]]


def explicit_jacobian(f: Map, x: Tensor) -> Array:
    """``dz/dx`` as ``(n_out, n_in)`` float64, for one sample ``x (*event)``.

    ``f`` is a layer's ``forward`` or ``inverse`` with float64 parameters; it sees a batch
    of one. Zero where autograd sees no path from ``x``. Backward passes run side by side,
    by ``torch.func.jacrev`` where autograd alone cannot; where an operation does not allow
    that either, one after the other.

    Cost: one forward and ``n_out`` backward passes.
    """
    leaf = x.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        # A copy that is no leaf: a layer may change its input in place.
        z = f(leaf.clone()[None])[0].reshape(-1)
    if not z.requires_grad:
        return np.zeros((z.numel(), x.numel()))
    if z.numel() <= FEW:
        J = torch.stack([_of_entry(one, leaf) for one in z.unbind()])
        return np.asarray(J.detach().reshape(-1, x.numel()).cpu().numpy(), dtype=np.float64)
    rows = torch.eye(z.numel(), dtype=z.dtype, device=z.device)
    try:
        J = torch.cat([_pulled(z, leaf, part, True) for part in rows.split(_CHUNK)])
    except _NOT_BATCHED:
        try:
            J = torch.func.jacrev(lambda one: f(one[None])[0].reshape(-1), chunk_size=_CHUNK)(
                leaf.detach()
            )
        except _NOT_BATCHED:
            J = torch.stack([_pulled(z, leaf, row, False) for row in rows])
    return np.asarray(J.detach().reshape(-1, x.numel()).cpu().numpy(), dtype=np.float64)


def _of_entry(z: Tensor, x: Tensor) -> Tensor:
    """``dz/dx`` of one number."""
    found = torch.autograd.grad(z, x, retain_graph=True, allow_unused=True)[0]
    return torch.zeros_like(x) if found is None else found


def _pulled(z: Tensor, x: Tensor, rows: Tensor, several: bool) -> Tensor:
    """``rows J`` for one row ``(n_out,)`` or several ``(k, n_out)``."""
    found = torch.autograd.grad(
        z, x, rows, retain_graph=True, allow_unused=True, is_grads_batched=several
    )[0]
    if found is None:
        return rows.new_zeros(*rows.shape[:-1], *x.shape)
    return found


def central_difference(f: Callable[[Tensor], Tensor], x: Tensor, v: Tensor, step: float) -> Tensor:
    """``d/dt f(x + t v)`` at 0, fourth order: Richardson on central differences.

    Error ``O(step^4)`` of truncation plus ``O(u / step)`` of rounding.
    """

    def slope(h: float) -> Tensor:
        return (f(x + h * v) - f(x - h * v)) / (2 * h)

    return (4 * slope(step / 2) - slope(step)) / 3
