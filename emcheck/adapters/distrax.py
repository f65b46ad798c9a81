"""Bijectors of distrax as layers of the contract."""

from __future__ import annotations

from typing import Any

import distrax
import torch

from emcheck.adapters.core import Adapted, class_name
from emcheck.adapters.jax_layer import JaxLayer, everything, summed
from emcheck.adapters.jax_program import Calls


def _forward(bijector: Any, x: Any) -> Any:
    z, logdet = bijector.forward_and_log_det(x)
    return z, summed(logdet, x.ndim - bijector.event_ndims_in)


def _inverse(bijector: Any, z: Any) -> Any:
    x, logdet = bijector.inverse_and_log_det(z)
    return x, summed(logdet, z.ndim - bijector.event_ndims_out)


CALLS = Calls(_forward, _inverse)


class DistraxLayer(JaxLayer):
    """A bijector of distrax, whose arrays stay as given.

    Bijectors keep what they computed from their arguments (a scale, its logarithm and its inverse),
    so that no array can be moved alone; ``widest`` is the dtype of that computation.
    """

    def __init__(self, bijector: Any, name: str) -> None:
        super().__init__(bijector, name, CALLS, frozen=everything)
        kept = [b.dtype for b in self.held.buffers() if b.is_floating_point()]
        self.widest = min(kept, key=lambda dtype: dtype.itemsize, default=None)

    @property
    def notes(self) -> tuple[str, ...]:
        held = any(b.is_floating_point() for b in self.held.buffers())
        still = "its arrays stay as given, as distrax keeps what it computed from them"
        narrow = "" if self.widest != torch.float32 else "; float64: built under jax.enable_x64"
        return (*super().notes, *([still + narrow] if held else []))


def adapt(layer: Any) -> Adapted:
    """Return an adapter for a bijector.

    Raises:
        ValueError: any other object of distrax.
    """
    if not isinstance(layer, distrax.Bijector):
        raise ValueError(f"expected a bijector of distrax, got {class_name(layer)}")
    return DistraxLayer(layer, class_name(layer))
