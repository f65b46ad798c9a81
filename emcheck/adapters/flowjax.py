"""Bijections and transformed distributions of flowjax as layers of the contract."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
from flowjax.bijections import AbstractBijection
from flowjax.distributions import AbstractTransformed
from paramax import NonTrainable

from emcheck.adapters.core import Adapted, class_name, lacking_by_design
from emcheck.adapters.jax_layer import JaxLayer
from emcheck.adapters.jax_program import Calls

#: What bijections lack by their documentation: this one searches for a root to a tolerance.
BY_DESIGN = {"NumericalInverse": frozenset({"exact_inverse"})}


def _forward(bijection: Any, x: Any) -> Any:
    return bijection.transform_and_log_det(x)


def _inverse(bijection: Any, z: Any) -> Any:
    return bijection.inverse_and_log_det(z)


#: flowjax calls take one sample.
CALLS = Calls(_forward, _inverse, rows=True)


def _forward_at(bijection: Any, carried: Any) -> Any:
    return _at_condition(bijection, carried, bijection.transform_and_log_det)


def _inverse_at(bijection: Any, carried: Any) -> Any:
    return _at_condition(bijection, carried, bijection.inverse_and_log_det)


def _at_condition(bijection: Any, carried: Any, call: Any) -> Any:
    """Call with a flat sample that ends with its condition, which comes out unchanged."""
    size = math.prod(bijection.shape)
    x, condition = carried[:size], carried[size:]
    z, logdet = call(x.reshape(bijection.shape), condition.reshape(bijection.cond_shape))
    return jnp.concatenate([z.reshape(-1), condition]), logdet


#: Calls of bijections with a condition.
CALLS_AT = Calls(_forward_at, _inverse_at, rows=True)


def adapt(layer: Any) -> Adapted:
    """Return an adapter for a bijection, or for that of a transformed distribution.

    Arrays are parameters; those in ``NonTrainable`` are buffers.

    Raises:
        ValueError: a bijection with a condition, or any other object of flowjax.
    """
    bijection = _bijection(layer)
    if bijection.cond_shape is not None:
        shape = tuple(bijection.cond_shape)
        raise ValueError(
            f"expected an unconditional bijection, got {class_name(layer)} with cond_shape "
            f"{shape}: pass context={shape}"
        )
    return JaxLayer(bijection, class_name(layer), CALLS, _lacks(bijection), _is_frozen)


def conditional(layer: Any) -> Any:
    """Return a bijection with a condition as a layer of flat samples that end with it."""
    bijection = _bijection(layer)
    if bijection.cond_shape is None:
        return layer
    adapted = JaxLayer(bijection, class_name(layer), CALLS_AT, _lacks(bijection), _is_frozen)
    adapted.context_size = math.prod(bijection.cond_shape)
    return adapted


def _bijection(layer: Any) -> Any:
    if isinstance(layer, AbstractTransformed):
        layer = layer.merge_transforms().bijection
    if not isinstance(layer, AbstractBijection):
        got = class_name(layer)
        raise ValueError(f"expected a bijection or a transformed distribution, got {got}")
    return layer


def _is_frozen(node: Any) -> bool:
    return isinstance(node, NonTrainable)


def _lacks(layer: Any) -> frozenset[str]:
    """Return what a bijection and its parts lack by design."""
    import jax

    found: list[Any] = []

    def look(node: Any) -> bool:
        if isinstance(node, AbstractBijection):
            found.append(node)
        return False

    jax.tree_util.tree_flatten(layer, is_leaf=look)
    return lacking_by_design(map(type, found), BY_DESIGN)
