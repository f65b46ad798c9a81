"""Functions of NumPy arrays or of JAX arrays, told apart from those of tensors by a call."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emcheck.guard import foreign

Function = Callable[..., Any]


class Arrays(Enum):
    """Whose arrays a function takes and returns."""

    TORCH = "tensors"
    NUMPY = "NumPy arrays"
    JAX = "JAX arrays"


def arrays_of(function: Function, x: Tensor) -> Arrays | None:
    """Return whose arrays ``function`` takes, by a call with a tensor and, if needed, an array.

    A function of tensors returns a tensor for one that requires a gradient. Any other function is
    judged by what it returns for an array. None if neither call answers.
    """
    given = x.detach().clone()
    try:
        with torch.enable_grad():
            answer = function(given.requires_grad_(given.is_floating_point()))
        found = _kind(answer)
    except foreign():  # the call that counts raises it again
        found = None
    if found is not None:
        return found
    try:
        found = _kind(function(x.detach().cpu().numpy().copy()))
    except foreign():
        return None
    return None if found is Arrays.TORCH else found


def _kind(answer: Any) -> Arrays | None:
    """Return the kind of an answer by its parts, those of JAX first; numbers decide nothing."""
    parts = list(_parts(answer))
    if any(map(is_jax, parts)):
        return Arrays.JAX
    if any(isinstance(part, np.ndarray) for part in parts):
        return Arrays.NUMPY
    return Arrays.TORCH if any(isinstance(part, Tensor) for part in parts) else None


def _parts(answer: Any) -> Iterator[Any]:
    if isinstance(answer, tuple | list):
        for part in answer:
            yield from _parts(part)
    else:
        yield answer


def is_jax(value: object) -> bool:
    """Whether a value is an array of JAX, without loading JAX."""
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(value, jax.Array)


def holds_jax(tree: object) -> bool:
    """Whether any leaf of a pytree is an array of JAX."""
    jax = sys.modules.get("jax")
    return jax is not None and any(map(is_jax, jax.tree_util.tree_leaves(tree)))


def as_tensor(value: Any, like: Tensor) -> Any:
    """Return a NumPy array or number of an answer as a tensor, anything else unchanged."""
    if isinstance(value, np.ndarray | np.generic):
        return torch.from_numpy(np.array(value)).to(like.device)
    return value


def through_numpy(function: Function, x: Tensor) -> Any:
    """Call ``function`` with the numbers of ``x``; return its arrays as gradient-free tensors."""
    answer = function(x.detach().cpu().numpy().copy())
    if isinstance(answer, tuple | list):
        return type(answer)([as_tensor(part, x) for part in answer])
    return as_tensor(answer, x)


def jax_layer(name: str, tree: Any, functions: Mapping[str, Function], with_tree: bool) -> Any:
    """Return a layer of JAX whose calls are functions of ``(tree, x)``, or of ``x`` alone."""
    from emcheck.adapters.jax_layer import JaxLayer
    from emcheck.adapters.jax_program import Calls

    def call(direction: str, tree: Any, x: Any) -> Any:
        return functions[direction](tree, x) if with_tree else functions[direction](x)

    def forward(tree: Any, x: Any) -> Any:
        answer = call("forward", tree, x)
        if isinstance(answer, tuple | list) or "log_det" not in functions:
            return answer
        return answer, call("log_det", tree, x)

    def inverse(tree: Any, z: Any) -> Any:
        answer = call("inverse", tree, z)
        return answer if isinstance(answer, tuple | list) else (answer, None)

    lacks = frozenset() if "inverse" in functions else frozenset({"inverse"})
    return JaxLayer(tree, name, Calls(forward, inverse), lacks)
