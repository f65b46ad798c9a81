"""Explicit Jacobians of any layer by automatic differentiation in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from emcheck.oracle.precision import Array

#: Backward passes that run side by side; more would cost memory, not save time.
_CHUNK = 256

Map = Callable[[Tensor], tuple[Tensor, Tensor]]


def explicit_jacobian(f: Map, x: Tensor) -> Array:
    """``dz/dx`` as ``(n_out, n_in)`` float64, for one sample ``x (*event)``.

    ``f`` is a layer's ``forward`` or ``inverse`` with float64 parameters; it sees a batch
    of one. By ``torch.func.jacrev``; layers that it cannot transform are differentiated
    entry by entry with ``torch.autograd``.

    Cost: one forward and ``n_out`` backward passes.
    """

    def event_map(event: Tensor) -> Tensor:
        return f(event[None])[0][0]

    try:
        J = torch.func.jacrev(event_map, chunk_size=_CHUNK)(x)
    except (RuntimeError, NotImplementedError, TypeError):
        J = torch.autograd.functional.jacobian(event_map, x)
    return np.asarray(J.detach().reshape(-1, x.numel()).cpu().numpy(), dtype=np.float64)


def central_difference(f: Callable[[Tensor], Tensor], x: Tensor, v: Tensor, step: float) -> Tensor:
    """``d/dt f(x + t v)`` at 0, fourth order: Richardson on central differences.

    Error ``O(step^4)`` of truncation plus ``O(u / step)`` of rounding.
    """

    def slope(h: float) -> Tensor:
        return (f(x + h * v) - f(x - h * v)) / (2 * h)

    return (4 * slope(step / 2) - slope(step)) / 3
