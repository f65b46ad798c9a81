"""Bijectors of TensorFlow Probability on JAX as layers of the contract."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from tensorflow_probability.substrates.jax.bijectors import Bijector

from emcheck.adapters.core import Adapted, class_name
from emcheck.adapters.jax_layer import JaxLayer, everything
from emcheck.adapters.jax_program import Calls


def _forward(bijector: Any, x: Any) -> Any:
    return bijector.forward(x), bijector.forward_log_det_jacobian(x, event_ndims=x.ndim - 1)


def _inverse(bijector: Any, z: Any) -> Any:
    return bijector.inverse(z), bijector.inverse_log_det_jacobian(z, event_ndims=z.ndim - 1)


CALLS = Calls(_forward, _inverse)


def adapt(layer: Any) -> Adapted:
    """Return an adapter for a bijector; the arrays that it was given stay as they are.

    Raises:
        ValueError: any other object of the library.
    """
    name = f"tfp.{type(layer).__name__}"
    if not isinstance(layer, Bijector):
        raise ValueError(f"expected a bijector of tfp on JAX, got {class_name(layer)}")
    adapted = JaxLayer(layer, name, CALLS, frozen=everything)
    kept = getattr(layer, "dtype", None)
    if kept is not None and np.dtype(kept) == np.float32:
        adapted.widest = torch.float32  # a bijector refuses numbers of another dtype than its own
    return adapted
