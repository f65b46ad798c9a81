"""Transforms of numpyro as layers of the contract."""

from __future__ import annotations

from typing import Any

from numpyro.distributions.transforms import Transform

from emcheck.adapters.core import Adapted, class_name
from emcheck.adapters.jax_layer import JaxLayer, everything, summed
from emcheck.adapters.jax_program import Calls


def _both(transform: Any, x: Any) -> Any:
    z = transform(x)
    return z, summed(transform.log_abs_det_jacobian(x, z), x.ndim - transform.domain.event_dim)


def _inverse(transform: Any, z: Any) -> Any:
    return _both(transform.inv, z)


CALLS = Calls(_both, _inverse)


def adapt(layer: Any) -> Adapted:
    """Return an adapter for a transform; the arrays that it was given stay as they are.

    Raises:
        ValueError: any other object of numpyro.
    """
    if not isinstance(layer, Transform):
        raise ValueError(f"expected a transform of numpyro, got {class_name(layer)}")
    return JaxLayer(layer, class_name(layer), CALLS, frozen=everything)
