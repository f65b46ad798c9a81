"""The tensors and modules inside an object that is no module, held as a module and copied."""

from __future__ import annotations

import copy
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Transform
from torch.distributions.transforms import _InverseTransform

from emcheck.adapters.graph import CACHE, Found, Place, captured, walk


@dataclass
class _Slot:
    """A registered tensor and a place that must hold it, expanded to ``shape`` if that is given."""

    name: str
    place: Place
    shape: torch.Size | None


class Held(nn.Module):
    """The tensors and modules that objects hold which are no modules themselves.

    Parameters become parameters, other tensors buffers, modules submodules, named by the path
    that leads to them. ``put`` writes the present tensors back to where the objects look for
    them, so that ``double()``, ``to()``, ``load_state_dict`` and ``functional_call`` reach them.

    Args:
        roots: the objects by name. The same dictionary must serve the caller, so that a deep
            copy of caller and ``Held`` together stays together.

    Raises:
        ValueError: a tensor that was computed from others, so that it would not follow them; a
            function that reaches modules or tensors past its arguments, so that a copy of it
            would share them.
    """

    def __init__(self, roots: dict[str, Any]) -> None:
        super().__init__()
        self._slots: list[_Slot] = []
        names: dict[int, str] = {}
        for found in list(walk(roots)):
            value = found.value
            if isinstance(value, types.FunctionType):
                _refuse_captures(found, value)
            elif isinstance(value, nn.Module):
                if id(value) not in names:
                    names[id(value)] = self._free_name(found)
                    self.add_module(names[id(value)], value)
            elif isinstance(value, Tensor):
                self._hold(found, names)

    def _hold(self, found: Found, names: dict[int, str]) -> None:
        if found.place is None:
            path = ".".join(found.path)
            raise ValueError(f"expected tensors that can be replaced, got a method of one: {path}")
        tensor, shape = _leaf(found)
        if id(tensor) not in names:
            names[id(tensor)] = self._free_name(found)
            self._register(names[id(tensor)], tensor)
        self._slots.append(_Slot(names[id(tensor)], found.place, shape))

    def _register(self, name: str, tensor: Tensor) -> None:
        if isinstance(tensor, nn.Parameter):
            self.register_parameter(name, tensor)
        elif tensor.requires_grad:
            # A leaf that is trained is a parameter, whatever its class; both share the storage.
            self.register_parameter(name, nn.Parameter(tensor.detach()))
        else:
            overlapping = 0 in tensor.stride() and tensor.numel() > 1
            self.register_buffer(name, tensor.contiguous() if overlapping else tensor)

    def _free_name(self, found: Found) -> str:
        first, *rest = found.path
        name = "_".join(rest or ("of", first)).lstrip("_").replace(".", "_") or "held"
        while hasattr(self, name):
            name += "_"
        return name

    def put(self) -> None:
        """Write the registered tensors to every place that held them."""
        for slot in self._slots:
            tensor = getattr(self, slot.name)
            if slot.shape is not None:
                slot.place.put(tensor.expand(slot.shape))
            elif slot.place.get() is not tensor:
                slot.place.put(tensor)


def _leaf(found: Found) -> tuple[Tensor, torch.Size | None]:
    """Return the tensor to register, and the shape it is seen in if it is a broadcast view."""
    tensor = found.value
    if tensor.is_leaf:
        return tensor, None
    base = tensor._base
    if base is not None and base.is_leaf:
        try:
            seen = base.expand(tensor.shape)
        except RuntimeError:
            seen = base
        same = (seen.data_ptr(), seen.shape, seen.stride(), seen.dtype)
        if same == (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype):
            return base, tensor.shape
    raise ValueError(
        f"expected tensors that are given, got {'.'.join(found.path)}, computed from a parameter "
        "when the object was made: hold it in a module that makes the object at every call"
    )


def _refuse_captures(found: Found, function: types.FunctionType) -> None:
    for name, value in captured(function):
        raise ValueError(
            f"expected functions of their arguments alone, got {found.path[0]} with "
            f"{name} ({type(value).__name__}) from outside: "
            "adapt(layer, forward=lambda layer, x: ...) hands the module in"
        )


def prepare_copy(root: object, memo: dict[int, Any]) -> None:
    """Enter into ``memo`` what ``copy.deepcopy`` alone would refuse or lose.

    Tensors that a layer stored in a call are copied without their graph; a transform's cache
    of its last call is left out, as a fresh transform has none; the inverse of a torch
    transform keeps the transform that it inverts, which its own way of copying drops.
    """
    for value in _everything(root):
        if isinstance(value, Tensor) and not value.is_leaf:
            memo[id(value)] = value.detach().clone()
        elif isinstance(value, Transform):
            if CACHE in vars(value):
                memo[id(vars(value)[CACHE])] = (None, None)
            if isinstance(value, _InverseTransform) and id(value) not in memo:
                memo[id(value)] = _copy_inverse(value, memo)


def holds_transforms(root: object) -> bool:
    """Whether ``root`` holds a transform of torch: its cache must not be copied."""
    return any(isinstance(value, Transform) for value in _everything(root))


def _everything(root: object) -> Iterator[Any]:
    attributes = dict(vars(root))
    yield from (found.value for found in walk(attributes, into_modules=True))


def _copy_inverse(inverse: _InverseTransform, memo: dict[int, Any]) -> _InverseTransform:
    """Return a copy whose base is copied too; inverses inside the base are in ``memo`` already."""
    copied = type(inverse).__new__(type(inverse))
    for key, value in vars(inverse).items():
        vars(copied)[key] = copy.deepcopy(value, memo)
    return copied
