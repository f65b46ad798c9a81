"""Bijections and transformed distributions of flowjax as layers of the contract."""

from __future__ import annotations

from typing import Any

from flowjax.bijections import AbstractBijection, NumericalInverse
from flowjax.distributions import AbstractTransformed
from paramax import NonTrainable

from emcheck.adapters.core import Adapted, class_name
from emcheck.adapters.jax_layer import JaxLayer
from emcheck.adapters.jax_program import Calls

#: What bijections lack by their documentation: a search for roots with a tolerance.
_BY_DESIGN = {NumericalInverse: frozenset({"exact_inverse"})}


def _forward(bijection: Any, x: Any) -> Any:
    return bijection.transform_and_log_det(x)


def _inverse(bijection: Any, z: Any) -> Any:
    return bijection.inverse_and_log_det(z)


#: flowjax calls take one sample.
CALLS = Calls(_forward, _inverse, rows=True)


def adapt(layer: Any) -> Adapted:
    """An adapter for a bijection, or for that of a transformed distribution.

    Arrays are parameters; those in ``NonTrainable`` are buffers.

    Raises:
        ValueError: a bijection with a condition, or anything else of flowjax.
    """
    name = class_name(layer)
    if isinstance(layer, AbstractTransformed):
        layer = layer.merge_transforms().bijection
    if not isinstance(layer, AbstractBijection):
        raise ValueError(f"expected a bijection or a transformed distribution, got {name}")
    if layer.cond_shape is not None:
        raise ValueError(
            f"expected an unconditional bijection, got {name} with cond_shape "
            f"{tuple(layer.cond_shape)}: emcheck.adapt(layer, forward=lambda layer, x: ...) can "
            "give it one"
        )
    return JaxLayer(layer, name, CALLS, _lacks(layer), _is_frozen)


def _is_frozen(node: Any) -> bool:
    return isinstance(node, NonTrainable)


def _lacks(layer: Any) -> frozenset[str]:
    """What a bijection and its parts lack, with what they cannot invert at all."""
    import jax

    lacks: frozenset[str] = frozenset()
    found: list[Any] = []

    def look(node: Any) -> bool:
        if isinstance(node, AbstractBijection):
            found.append(node)
        return False

    jax.tree_util.tree_flatten(layer, is_leaf=look)
    for part in found:
        for kind, missing in _BY_DESIGN.items():
            lacks |= missing if isinstance(part, kind) else frozenset()
    return lacks
