"""An invertible layer of another library as a layer of the contract, and which adapter it needs."""

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

#: What others return for a log-det: a number, a 0-d tensor or ``(B,)``, passed on as it is.
Logdet = Tensor | float

#: ``sample(batch, event, generator)``: float64 draws ``(batch, *event)`` inside the domain.
Sampler = Callable[[int, tuple[int, ...], torch.Generator], Tensor]


class NotALayer(ValueError):
    """An object of no kind that an adapter knows."""


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

    #: Constants of the layer were computed in this dtype once: in a wider one their rounding
    #: would be judged, not the layer. None: there are none such.
    widest: torch.dtype | None = None

    #: No call leaves anything behind in it, so that a copy is as good as a newly made one.
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
        """``x (B, *event)`` to ``z (B, *event_out)`` and ``log|det dz/dx|``."""
        raise NotImplementedError(f"{self.name} has no forward")

    def inverse(self, z: Tensor) -> tuple[Tensor, Logdet | None]:
        """``z`` to ``x`` and ``log|det dx/dz|``; None if there is no log-det of the inverse."""
        raise NotImplementedError(f"{self.name} has no inverse")

    def jacobian(self, x: Tensor, inverse: bool) -> Array | None:
        """``dz/dx (n_out, n_in)`` at ``x (*event)`` by the library's own means, in float64.

        None: there are none, and the graph of a call says it.
        """
        return None

    @property
    def by_differences(self) -> bool:
        """Whether calls know no derivatives, so that Jacobians are taken by differences."""
        return False

    @property
    def shown(self) -> frozenset[str]:
        """Capabilities that calls have shown to be missing, beside ``lacks``."""
        return frozenset()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a report says of how the layer was taken, as far as calls have shown it."""
        return ()

    @property
    def sample(self) -> Sampler | None:
        """Draws from inside the domain of ``forward``, or None where that is all of R^n."""
        return None

    def warm_up(self, x: Tensor) -> None:
        """Let a layer set itself from ``x`` where its class is known to do so at its first batch.

        One call of ``forward`` in training mode without gradients; the mode is restored. Any
        other layer is left alone.
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
        """Whether copies need what ``deepcopy`` alone would lose; looked for once."""
        return holds_transforms(self)

    def extra_repr(self) -> str:
        return self.name


def unadapted(layer: nn.Module) -> nn.Module:
    """The user's module inside an adapter; a layer that is in none, as it is."""
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
    """What ``known`` says, by name, of any of these classes and of those that they derive from."""
    names = {cls.__name__ for kind in kinds for cls in kind.__mro__}
    return frozenset().union(*(lacks for name, lacks in known.items() if name in names))


def class_name(layer: object) -> str:
    """The library and the class of ``layer``: ``normflows.ActNorm``."""
    return f"{type(layer).__module__.partition('.')[0]}.{type(layer).__name__}"


def lacking(layer: Adapted, capability: str, error: BaseException) -> NotImplementedError:
    """The one exception for what a library does not offer."""
    reason = f": {one_line(error)}" if str(error) else ""
    return NotImplementedError(f"{layer.name} has no {capability}{reason}")
