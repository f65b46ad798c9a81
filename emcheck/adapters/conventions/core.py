"""How one direction of a module is called, read from signatures and names."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Route:
    """One direction: ``module.method(value, **keywords)``.

    Args:
        method: ``forward``, or another method of the module.
        keywords: fixed arguments, in order.
        carried: the argument to which the log-det is added, empty if there is none.
        context: the argument that takes the condition, empty if there is none.
        needs_context: whether the condition must be given.
        missing: required arguments of unknown meaning.
    """

    method: str
    keywords: tuple[tuple[str, Any], ...] = ()
    carried: str = ""
    context: str = ""
    needs_context: bool = False
    missing: tuple[str, ...] = ()

    def written(self, letter: str, context: bool = False) -> str:
        """Return the call as one would write it: ``forward(x, reverse=True)``."""
        words = [letter, *([self.carried] if self.carried else [])]
        words += [self.context] if self.context and (context or self.needs_context) else []
        words += [f"{name}={value!r}" for name, value in self.keywords]
        return f"{self.method}({', '.join(words)})"


@dataclass(frozen=True)
class Convention:
    """Both directions of a module.

    Args:
        name: the name of the convention, for reports.
        forward: data to latent.
        inverse: latent to data, or None if there is none.
    """

    name: str
    forward: Route
    inverse: Route | None

    def without_carried(self) -> Convention:
        """Return the same calls without a log-det as an argument."""
        back = None if self.inverse is None else replace(self.inverse, carried="")
        return replace(self, forward=replace(self.forward, carried=""), inverse=back)

    def with_context(self) -> Convention:
        """Return the same calls, with the context as the only argument of unknown meaning."""

        def given(way: Route) -> Route:
            if way.context or len(way.missing) != 1:
                return way
            return replace(way, context=way.missing[0], needs_context=True, missing=())

        back = None if self.inverse is None else given(self.inverse)
        return replace(self, forward=given(self.forward), inverse=back)

    @property
    def routes(self) -> tuple[Route, ...]:
        return (self.forward, self.inverse) if self.inverse else (self.forward,)

    @property
    def missing(self) -> tuple[str, ...]:
        """Required arguments of unknown meaning in either direction."""
        return tuple(dict.fromkeys(name for route in self.routes for name in route.missing))

    @property
    def context(self) -> str:
        """The argument of the condition, empty if neither direction has one."""
        return next((route.context for route in self.routes if route.context), "")

    @property
    def needs_context(self) -> bool:
        """Whether a condition must be given in either direction."""
        return any(route.needs_context for route in self.routes)

    @property
    def carried(self) -> str:
        """The argument of the log-det, empty if neither direction has one."""
        return next((route.carried for route in self.routes if route.carried), "")

    def written(self, context: bool = False) -> str:
        """Return both calls in words, with an optional context or without."""
        back = self.inverse.written("z", context) if self.inverse else "none"
        return f"forward: {self.forward.written('x', context)}; inverse: {back}"


#: ``(forward, inverse)`` calls that a module offers by its signatures, the most likely first.
Reader = Callable[[nn.Module], Iterator[tuple[Route, Route | None]]]


@dataclass(frozen=True)
class _Registry:
    readers: dict[str, Reader] = field(default_factory=dict)

    def __call__(self, name: str) -> Callable[[Reader], Reader]:
        def register(reader: Reader) -> Reader:
            self.readers[name] = reader
            return reader

        return register


#: Registers a reader of one convention; conventions are tried in the order of their modules.
convention = _Registry()

#: Names of arguments that take the log-det or the log-density so far, as flow code has them.
_LOGDET = re.compile(
    r"(log.*det|s?ldj|ladj|ldet|log_?jac|log_?d[fzy]_?d|log_?vol|^jac$|objective)", re.IGNORECASE
)
_DENSITY = re.compile(
    r"^((delta_?)?log_?(p|q|l|prob|density|pdf|px|pz|p_x|p_z|lik\w*)|ll)$", re.IGNORECASE
)

#: Names of arguments that take a condition.
_CONTEXT = re.compile(
    r"^(contexts?|ctx|cond\w*|y|h|c|g|labels?|embeddings?|features?|condition\w*)$", re.IGNORECASE
)


def is_logdet(name: str) -> bool:
    """Whether a name is that of a log-determinant."""
    return bool(_LOGDET.search(name))


def is_density(name: str) -> bool:
    """Whether a name is that of a log-density, from which the log-det is subtracted."""
    return bool(_DENSITY.match(name))


def parameters_of(module: nn.Module, method: str) -> dict[str, inspect.Parameter] | None:
    """Return a method's arguments after the data, by name; None if it takes none or is missing."""
    function = getattr(module, method, None)
    if not callable(function) or (method == "forward" and not has_forward(module)):
        return None
    try:
        found = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return {}
    named = [p for p in found if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return {p.name: p for p in named[1:]} if named else ({} if found else None)


def has_forward(module: nn.Module) -> bool:
    """Whether the class of a module defines ``forward``."""
    return type(module).forward is not nn.Module.forward


def route(module: nn.Module, method: str, **keywords: Any) -> Route | None:
    """Return the call of a method with fixed keywords; others are known by name, or missing."""
    parameters = parameters_of(module, method)
    if parameters is None:
        return None
    carried, context, needs_context = "", "", False
    missing: list[str] = []
    for name, parameter in parameters.items():
        required = parameter.default is parameter.empty
        if name in keywords:
            continue
        if parameter.default is False and _LOGDET.search(name):
            keywords[name] = True  # a switch: return the log-det as well
        elif not carried and (_LOGDET.search(name) or is_density(name)) and _open(parameter):
            carried = name
        elif not context and _CONTEXT.match(name) and (required or not parameter.default):
            context, needs_context = name, required
        elif required:
            missing.append(name)
    return Route(method, tuple(keywords.items()), carried, context, needs_context, tuple(missing))


def _open(parameter: inspect.Parameter) -> bool:
    """Whether a tensor may be passed in: a switch (``logdet=True``) takes none."""
    return not isinstance(parameter.default, bool | str)
