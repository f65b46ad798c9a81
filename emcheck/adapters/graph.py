"""Objects that hold tensors and modules without being modules: walked, read and written."""

from __future__ import annotations

import contextlib
import dis
import functools
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.distributions.transforms import _InverseTransform

#: Attribute with the results of a torch transform's last call; not part of its state.
CACHE = "_cached_x_y"

#: Attribute with a torch transform's inverse; only in an inverse is it part of the state.
_INVERSE = "_inv"

_OPAQUE = (type, types.ModuleType, types.FunctionType, str, bytes)


@dataclass
class Place:
    """Where a value is in its owner: an attribute, an entry, or an entry of a tuple.

    A tuple cannot be written to; the owner is then the tuple's place, which gets a new tuple.
    """

    owner: Any
    key: Any

    def get(self) -> Any:
        owner = self.owner.get() if isinstance(self.owner, Place) else self.owner
        if isinstance(owner, (dict, list, tuple)):
            return owner[self.key]
        return getattr(owner, self.key)

    def put(self, value: object) -> None:
        owner = self.owner
        if isinstance(owner, Place):
            entries = list(owner.get())
            entries[self.key] = value
            kind = type(owner.get())
            owner.put(kind(*entries) if hasattr(kind, "_fields") else tuple(entries))
        elif isinstance(owner, (dict, list)):
            owner[self.key] = value
        elif isinstance(owner, functools.partial):
            parts = {"func": owner.func, "args": owner.args, "keywords": owner.keywords}
            parts[self.key] = value
            owner.__setstate__((*parts.values(), vars(owner)))  # type: ignore[attr-defined]
        else:
            vars(owner)[self.key] = value


@dataclass(frozen=True)
class Found:
    """A value of the graph, the path that leads to it, and its place (None: not to be written)."""

    path: tuple[str, ...]
    place: Place | None
    value: Any


def walk(roots: Mapping[str, object], into_modules: bool = False) -> Iterator[Found]:
    """Yield everything reachable from ``roots``, each value after what it holds.

    A mutable value comes once, a tensor or module once for every place that holds it. Modules are
    entered only on request, functions and classes never.
    """
    visited: set[int] = set()
    for name, value in roots.items():
        yield from _visit(Found((name,), Place(roots, name), value), visited, into_modules)


def _visit(found: Found, visited: set[int], into_modules: bool) -> Iterator[Found]:
    value = found.value
    closed = isinstance(value, nn.Module) and not into_modules
    if not closed and not isinstance(value, (Tensor, tuple, *_OPAQUE)):
        if id(value) in visited:
            return
        visited.add(id(value))
    if not closed:
        for key, place, child in _children(found):
            inner = Found((*found.path, *([key] if key else [])), place, child)
            yield from _visit(inner, visited, into_modules)
    yield found


def _children(found: Found) -> Iterator[tuple[str, Place | None, object]]:
    value = found.value
    if isinstance(value, (Tensor, *_OPAQUE)):
        return
    if isinstance(value, dict):
        yield from ((str(key), Place(value, key), child) for key, child in value.items())
    elif isinstance(value, list):
        yield from ((str(n), Place(value, n), child) for n, child in enumerate(value))
    elif isinstance(value, tuple):
        for n, child in enumerate(value):
            yield str(n), None if found.place is None else Place(found.place, n), child
    elif isinstance(value, types.MethodType):
        yield "", None, value.__self__
    elif isinstance(value, types.BuiltinMethodType):
        if isinstance(value.__self__, Tensor):
            yield "", None, value.__self__
    elif isinstance(value, functools.partial):
        for key in ("func", "args", "keywords"):
            yield ("", Place(value, key), getattr(value, key))
    elif hasattr(value, "__dict__"):
        for key, child in list(vars(value).items()):
            if key != CACHE and (key != _INVERSE or isinstance(value, _InverseTransform)):
                yield key, Place(value, key), child


def captured(function: types.FunctionType) -> Iterator[tuple[str, Tensor | nn.Module]]:
    """Yield modules and floating-point tensors that a function reaches past its arguments.

    They are in its closure, its defaults or its globals; a copy of the function shares them
    with the original. Functions in the same places are followed, global ones only if they
    are of the same file.
    """
    seen: set[int] = set()
    waiting = [function]
    while waiting:
        function = waiting.pop()
        if id(function) in seen:
            continue
        seen.add(id(function))
        known = {**_enclosed(function), **_globals(function)}
        for found in walk(known):
            inner, name = found.value, ".".join(found.path)
            if isinstance(inner, nn.Module) or (
                isinstance(inner, Tensor) and inner.is_floating_point()
            ):
                yield name, inner
            elif isinstance(inner, types.FunctionType):
                waiting.append(inner)


def _enclosed(function: types.FunctionType) -> dict[str, object]:
    """Return what is in the closure and in the defaults of a function, by name."""
    found: dict[str, object] = {}
    names = function.__code__.co_freevars
    for name, cell in zip(names, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # not filled yet
            found[name] = cell.cell_contents
    arguments = function.__code__.co_varnames[: function.__code__.co_argcount]
    defaults = function.__defaults__ or ()
    found.update(zip(arguments[len(arguments) - len(defaults) :], defaults, strict=True))
    return found | (function.__kwdefaults__ or {})


def _globals(function: types.FunctionType) -> dict[str, object]:
    """Return the globals that a function reads, without functions of other files."""
    everything = function.__globals__
    found = {n: everything[n] for n in _global_names(function.__code__) if n in everything}
    return {
        name: value
        for name, value in found.items()
        if not isinstance(value, types.FunctionType) or value.__globals__ is everything
    }


def _global_names(code: types.CodeType) -> set[str]:
    names = {
        str(instruction.argval)
        for instruction in dis.get_instructions(code)
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _global_names(constant)
    return names
