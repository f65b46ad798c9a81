"""``adapt``, which chooses the adapter for an object."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from torch import nn
from torch.distributions import Distribution, Transform

from emcheck.adapters.core import NotALayer, is_native, lacking_by_design
from emcheck.adapters.functions import adapt_functions
from emcheck.adapters.graph import walk

#: A prefix of ``__module__`` and the module here that adapts its classes.
_LIBRARIES = {
    "normflows": "normflows",
    "nflows": "nflows",
    "FrEIA": "freia",
    "zuko": "zuko",
    "pyro.distributions": "pyro",
    "torch.distributions.transforms": "torch_transforms",
    "flowjax": "flowjax",
    "distrax": "distrax",
    "numpyro.distributions.transforms": "numpyro",
    "tensorflow_probability.substrates.jax.bijectors": "tfp",
}


def conditional(layer: object) -> object:
    """Return a layer of a library as a module whose calls take ``context``, all else unchanged."""
    for module in _library_of(layer):
        if hasattr(module, "conditional"):
            return module.conditional(layer)
    return layer


def is_of_library(layer: object) -> bool:
    """Whether the class of a layer, or one it derives from, is of a known library."""
    return any(True for _ in _adapters_of(layer))


def lacks_by_design(*flows: object) -> frozenset[str]:
    """Return what parts of modules and distributions lack, by the documentation of libraries."""
    kinds: set[type] = set()
    for flow in flows:
        if isinstance(flow, nn.Module):
            kinds |= set(map(type, flow.modules()))
        elif isinstance(flow, Distribution):
            kinds |= {type(found.value) for found in walk({"flow": flow})}
    lacks: frozenset[str] = frozenset()
    for kind in kinds:
        for module in _adapters_of_class(kind):
            known = importlib.import_module(f"emcheck.adapters.{module}")
            lacks |= lacking_by_design([kind], getattr(known, "BY_DESIGN", {}))
    return lacks


def _library_of(layer: object) -> Iterator[ModuleType]:
    """Yield the modules here that adapt the classes of a layer."""
    for module in _adapters_of(layer):
        yield importlib.import_module(f"emcheck.adapters.{module}")


def _adapters_of(layer: object) -> Iterator[str]:
    if isinstance(layer, Transform) and _holds_pyro(layer):
        yield "pyro"
    yield from _adapters_of_class(type(layer))


def _adapters_of_class(kind: type) -> Iterator[str]:
    for cls in kind.__mro__:
        for library, module in _LIBRARIES.items():
            if cls.__module__ == library or cls.__module__.startswith(library + "."):
                yield module


def _holds_pyro(layer: Transform) -> bool:
    """Whether a composition or an inverse of torch holds a transform of Pyro."""
    parts = (found.value for found in walk({"layer": layer}))
    return any(isinstance(p, Transform) and type(p).__module__.startswith("pyro.") for p in parts)


def adapt(
    layer: object = None,
    *,
    forward: Callable[..., Any] | None = None,
    inverse: Callable[..., Any] | None = None,
    log_det: Callable[..., Any] | None = None,
) -> nn.Module:
    """Return any bijection as a layer with ``forward(x) -> (z, logdet)`` and ``inverse(z)``.

    Four forms:

    - ``adapt(layer)``: a layer of normflows, nflows, FrEIA, zuko, Pyro or
      ``torch.distributions.transforms``, or a bijection of flowjax, distrax, numpyro or TFP on
      JAX, recognised by its class; a module with forward and inverse is returned unchanged.
    - ``adapt(layer, forward=lambda layer, x: ..., inverse=lambda layer, z: ...)``: any module;
      the functions take it as their first argument. Use this form for functions that need
      parameters: a copy of the result acts on a copy of the module.
    - ``adapt(tree, forward=lambda tree, x: ...)``: a pytree whose JAX arrays become parameters.
    - ``adapt(forward=f, inverse=g)``: functions of tensors, of JAX or of NumPy arrays, without
      parameters, modules, or methods bound to a module (``model.encode``), which is found and
      registered.

    Args:
        layer: the layer or module, or None.
        forward: returns ``z`` or ``(z, logdet)``.
        inverse: returns ``x`` or ``(x, logdet)``; without it the result lacks ``"inverse"``.
        log_det: returns ``log|det dz/dx|`` at ``x``; needed if ``forward`` returns ``z`` alone.

    Raises:
        ValueError: an object of no known kind; functions that reach modules or tensors through
            a closure, a default or a global, which no copy could separate.

    Example:
        >>> doubled = adapt(
        ...     forward=lambda x: (2 * x, 0.6931471805599453 * x[0].numel()),
        ...     inverse=lambda z: z / 2,
        ... )
        >>> doubled(torch.ones(1, 3))
        (tensor([[2., 2., 2.]]), 2.0794415416798357)
    """
    functions = {"forward": forward, "inverse": inverse, "log_det": log_det}
    if any(function is not None for function in functions.values()):
        return adapt_functions(layer, functions)
    if isinstance(layer, type):
        raise ValueError(f"expected a layer, got the class {layer.__name__}: call it first")
    for module in _library_of(layer):
        adapted: nn.Module = module.adapt(layer)
        return adapted
    if is_native(layer):
        return layer
    raise NotALayer(
        "expected a layer of normflows, nflows, FrEIA, zuko, Pyro or torch.distributions, or a "
        f"module with forward and inverse, got {type(layer).__name__}: adapt(layer, forward=..., "
        "inverse=...) takes anything else"
    )
