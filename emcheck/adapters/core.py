"""The base class of adapters: a layer of another library as a layer of the contract."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, ClassVar, TypeGuard

import torch
from torch import Tensor, nn

from emcheck.adapters.held import holds_transforms, prepare_copy
from emcheck.bounds import Array
from emcheck.guard import one_line

#: A log-det as libraries return it: a number, a 0-d tensor or ``(B,)``, passed on unchanged.
Logdet = Tensor | float

#: ``sample(batch, event, generator)``: float64 draws ``(batch, *event)`` inside the domain.
Sampler = Callable[[int, tuple[int, ...], torch.Generator], Tensor]


class NotALayer(ValueError):
    """Raised for an object of no kind that an adapter knows."""


class Adapted(nn.Module):
    """A bijection of another library as a layer of the contract.

    ``forward`` is the direction that the library calls forward. Values and log-dets are passed
    on as the library returns them; nothing is repaired on the way.

    Args:
        name: library and class, for reports.
        lacks: what the library does not offer, by names of
            :data:`emcheck.checks.capabilities.CAPABILITIES`, as far as it can be told without a
            call. What shows only in a call is raised there as ``NotImplementedError`` with one
            line that names it.
    """

    #: The dtype in which constants of the layer were computed, None if it has none: in a wider
    #: dtype the checks would judge their rounding and not the layer.
    widest: torch.dtype | None = None

    #: Whether no call changes the layer, so that a copy is as good as a new one.
    immutable: bool = False

    #: How many of the last entries of a flat sample are its context, which comes out unchanged.
    context_size: int = 0

    #: By how many roundings the elementary functions of its library are off.
    units: float = 1.0

    #: Classes, as (start of ``__module__``, name), that set their parameters from the first batch.
    first_batch: ClassVar[frozenset[tuple[str, str]]] = frozenset()

    def __init__(self, name: str, lacks: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self.name = name
        self.lacks = lacks

    def forward(self, x: Tensor) -> tuple[Tensor, Logdet]:
        """Map ``x (B, *event)`` to ``z (B, *event_out)`` and ``log|det dz/dx|``."""
        raise NotImplementedError(f"{self.name} has no forward")

    def inverse(self, z: Tensor) -> tuple[Tensor, Logdet | None]:
        """Map ``z`` to ``x`` and ``log|det dx/dz|``; None if there is no log-det of the inverse."""
        raise NotImplementedError(f"{self.name} has no inverse")

    def jacobian(self, x: Tensor, inverse: bool) -> Array | None:
        """Return ``dz/dx (n_out, n_in)`` at ``x (*event)`` by the library's means, in float64.

        None if the library has none; the graph of a call then gives the Jacobian.
        """
        return None

    @property
    def by_differences(self) -> bool:
        """Whether calls have no derivatives, so that Jacobians are taken by differences."""
        return False

    @property
    def shown(self) -> frozenset[str]:
        """Capabilities that calls have shown to be missing, besides ``lacks``."""
        return frozenset()

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for a report about how the layer is called, as far as calls have shown it."""
        return ()

    @property
    def sample(self) -> Sampler | None:
        """Draws from inside the domain of ``forward``, or None if that is all of R^n."""
        return None

    def warm_up(self, x: Tensor) -> None:
        """Let a layer set itself from ``x`` if its class is known to do so at its first batch.

        It calls ``forward`` once in training mode without gradients and restores the mode. Any
        other layer is unchanged.
        """
        if not any(map(self._sets_itself, self.modules())):
            return
        modes = [(module, module.training) for module in self.modules()]
        try:
            with torch.no_grad():
                self.train().forward(x.clone())
        finally:
            for module, mode in modes:
                module.training = mode

    def _sets_itself(self, module: nn.Module) -> bool:
        known = [(cls.__module__, cls.__name__) for cls in type(module).__mro__]
        return any(
            name == wanted and where.startswith(prefix)
            for where, name in known
            for prefix, wanted in self.first_batch
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Adapted:
        if self._holds_transforms:
            prepare_copy(self, memo)
            return self._copied(memo)
        try:
            return self._copied(dict(memo))
        except RuntimeError:  # a tensor with a graph, which a call has left behind
            prepare_copy(self, memo)
            return self._copied(memo)

    def _copied(self, memo: dict[int, Any]) -> Adapted:
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        copied.__setstate__({key: copy.deepcopy(value, memo) for key, value in vars(self).items()})
        return copied

    @cached_property
    def _holds_transforms(self) -> bool:
        """Whether the layer holds a torch transform, of which ``deepcopy`` would lose parts."""
        return holds_transforms(self)

    def extra_repr(self) -> str:
        return self.name


def unadapted(layer: nn.Module) -> nn.Module:
    """Return the user's module inside an adapter; a layer without an adapter unchanged."""
    while isinstance(layer, Adapted) and isinstance(getattr(layer, "layer", None), nn.Module):
        layer = layer.layer  # type: ignore[assignment]
    return layer


def is_native(layer: object) -> TypeGuard[nn.Module]:
    """Whether ``layer`` is a module that offers forward and inverse itself."""
    return (
        isinstance(layer, nn.Module)
        and type(layer).forward is not nn.Module.forward
        and callable(getattr(layer, "inverse", None))
    )


def lacking_by_design(kinds: Iterable[type], known: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Return what ``known`` lists by name for these classes and those that they derive from."""
    names = {cls.__name__ for kind in kinds for cls in kind.__mro__}
    return frozenset().union(*(lacks for name, lacks in known.items() if name in names))


def class_name(layer: object) -> str:
    """Return the library and the class of ``layer``: ``normflows.ActNorm``."""
    return f"{type(layer).__module__.partition('.')[0]}.{type(layer).__name__}"


def lacking(layer: Adapted, capability: str, error: BaseException) -> NotImplementedError:
    """Return the exception for what a library does not offer."""
    reason = f": {one_line(error)}" if str(error) else ""
    return NotImplementedError(f"{layer.name} has no {capability}{reason}")
