"""Copies of any layer: ``deepcopy``, and copies of what it refuses."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn


def copy_layer(layer: nn.Module) -> nn.Module:
    """Return a deep copy; tensors computed from others are copied without their graph.

    ``deepcopy`` refuses a tensor with a graph. Layers keep such tensors on purpose (a weight that a
    hook computes anew in every call) and by mistake (:func:`derived_tensors` names them).
    """
    try:
        return copy.deepcopy(layer, _empty_parts(layer))
    except RuntimeError:
        memo = _empty_parts(layer)
        for _, value in derived_tensors(layer):
            memo[id(value)] = value.detach().clone()
        return copy.deepcopy(layer, memo)


def _empty_parts(layer: nn.Module) -> dict[int, Any]:
    """Return a memo of new empty containers for those of every module.

    A module has a dozen, for hooks and the like, on which ``deepcopy`` spends most of its time.
    """
    return {
        id(value): type(value)()
        for module in layer.modules()
        for value in vars(module).values()
        if type(value) in (OrderedDict, dict, set) and not value
    }


def derived_tensors(layer: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield tensors with a graph that a module keeps, by the path of the attribute."""
    for prefix, module in layer.named_modules():
        kept = {**vars(module), **module._buffers}
        for name, value in kept.items():
            for inner in value if isinstance(value, list | tuple) else (value,):
                if isinstance(inner, Tensor) and inner.grad_fn is not None:
                    yield f"{prefix}.{name}".lstrip("."), inner
