"""A layer of the contract made of functions, bound methods or functions of a module."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from emcheck.adapters.array_functions import (
    Arrays,
    arrays_of,
    holds_jax,
    jax_layer,
    through_numpy,
)
from emcheck.adapters.core import Adapted, Logdet, class_name
from emcheck.adapters.held import Held
from emcheck.bounds import Array

Function = Callable[..., Any]


class Functions(Adapted):
    """A layer of ``forward``, ``inverse`` and ``log_det`` as they were given.

    Functions that hold no tensors may take NumPy or JAX arrays; the first call shows which. For
    functions of NumPy, Jacobians are taken by differences and gradients are not judged.

    Args:
        layer: passed to every function as its first argument; with None they take ``x`` alone.
        functions: by name. Modules that they are, or are bound to, are registered under ``held``.
    """

    def __init__(self, name: str, layer: nn.Module | None, functions: dict[str, Function]) -> None:
        super().__init__(name, frozenset() if "inverse" in functions else frozenset({"inverse"}))
        self.layer = layer
        self.functions = functions
        self.held = Held(functions)
        plain = layer is None and not [*self.held.children()]
        tensors = [*self.held.parameters(), *self.held.buffers()]
        self.seen = _Seen(None if plain and not tensors else Arrays.TORCH)

    def _call(self, name: str, x: Tensor) -> Any:
        self.held.put()
        function = self.functions[name]
        if self.seen.arrays is None:
            self.seen.arrays = arrays_of(function, x)
        if self.seen.arrays is Arrays.NUMPY:
            return through_numpy(function, x)
        return function(x) if self.layer is None else function(self.layer, x)

    def _jax(self, x: Tensor) -> Adapted | None:
        """Return the functions as a layer of JAX if they take JAX arrays, else None."""
        if self.seen.arrays is None:
            self.seen.arrays = arrays_of(self.functions["forward"], x)
        if self.seen.arrays is Arrays.JAX and self.seen.layer is None:
            self.seen.layer = jax_layer(self.name, (), self.functions, with_tree=False)
        return self.seen.layer

    @property
    def by_differences(self) -> bool:
        inner = self.seen.layer
        return self.seen.arrays is Arrays.NUMPY or (inner is not None and inner.by_differences)

    @property
    def shown(self) -> frozenset[str]:
        if self.seen.layer is not None:
            return self.seen.layer.lacks | self.seen.layer.shown
        return frozenset({"gradient", "torch_state"}) if self.by_differences else frozenset()

    @property
    def notes(self) -> tuple[str, ...]:
        if self.seen.layer is not None:
            return ("functions of JAX arrays", *self.seen.layer.notes)
        told = "functions of NumPy arrays: Jacobians by differences, gradients not judged"
        return (told,) if self.by_differences else ()

    @property
    def units(self) -> float:  # type: ignore[override]
        return 1.0 if self.seen.layer is None else self.seen.layer.units

    def jacobian(self, x: Tensor, inverse: bool) -> Array | None:
        return None if self.seen.layer is None else self.seen.layer.jacobian(x, inverse)

    def forward(self, x: Tensor) -> tuple[Tensor, Logdet]:
        known = self._jax(x)
        if known is not None:
            return known.forward(x)
        z, logdet = self._split("forward", self._call("forward", x))
        if logdet is None and "log_det" in self.functions:
            logdet = self._call("log_det", x)
            if not isinstance(logdet, (Tensor, float, int)):
                kind = type(logdet).__name__
                raise ValueError(f"expected log_det to return a tensor or a number, got {kind}")
        if logdet is None:
            raise ValueError("expected forward to return (z, logdet), or log_det=, got z alone")
        return z, logdet

    def inverse(self, z: Tensor) -> tuple[Tensor, Logdet | None]:
        if "inverse" not in self.functions:
            raise NotImplementedError(f"{self.name} has no inverse: none was given")
        known = self._jax(z)
        if known is not None:
            return known.inverse(z)
        return self._split("inverse", self._call("inverse", z))

    def _split(self, name: str, output: Any) -> tuple[Tensor, Logdet | None]:
        value, logdet = output, None
        if isinstance(output, (tuple, list)) and len(output) == 2:
            value, logdet = output
        known = logdet is None or isinstance(logdet, (Tensor, float, int))
        if isinstance(value, Tensor) and known:
            return value, logdet
        got = type(output).__name__
        if isinstance(output, (tuple, list)):
            got = f"{got} of {', '.join(type(v).__name__ for v in output) or 'nothing'}"
        letter = "z" if name == "forward" else "x"
        raise ValueError(f"expected {name} to return {letter} or ({letter}, logdet), got {got}")


@dataclass
class _Seen:
    """What the first call has shown; copies of a layer share it.

    Args:
        arrays: whose arrays the functions take; None if that is not known yet.
        layer: the layer of JAX, if they take JAX arrays.
    """

    arrays: Arrays | None
    layer: Adapted | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> _Seen:
        return self


def adapt_functions(layer: object, functions: Mapping[str, Function | None]) -> Adapted:
    """Return a layer of the given functions; raise ``ValueError`` in one line if there is none."""
    given = {name: function for name, function in functions.items() if function is not None}
    of_jax = not isinstance(layer, nn.Module) and holds_jax(layer)
    if not (layer is None or isinstance(layer, nn.Module) or of_jax):
        kind = type(layer).__name__
        raise ValueError(f"expected a module for the functions to take first, got {kind}")
    if "forward" not in given:
        raise ValueError(
            f"expected forward=, got only {' and '.join(f'{name}=' for name in given)}"
        )
    for name, function in given.items():
        if isinstance(function, type) or not callable(function):
            kind = function.__name__ if isinstance(function, type) else type(function).__name__
            raise ValueError(f"expected {name} to be a function, got {kind}")
    if of_jax:
        plain = type(layer).__module__ == "builtins"
        name = _name(given["forward"]) if plain else class_name(layer)
        return jax_layer(name, layer, given, with_tree=True)
    assert layer is None or isinstance(layer, nn.Module)
    return Functions(_name(given["forward"] if layer is None else layer), layer, given)


def _name(source: object) -> str:
    """Return the class of the module behind a function, or the function's own name."""
    while isinstance(source, functools.partial):
        source = source.func
    if isinstance(source, types.MethodType):
        source = source.__self__
    if isinstance(source, nn.Module):
        return type(source).__name__
    return str(getattr(source, "__name__", type(source).__name__))
