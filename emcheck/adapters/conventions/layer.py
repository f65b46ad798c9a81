"""A module of another convention as a layer of the contract."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from emcheck._internal.copying import copy_layer
from emcheck.adapters.conventions.context import Context
from emcheck.adapters.conventions.core import Convention, Route, is_logdet
from emcheck.adapters.core import Adapted, Logdet


@dataclass(frozen=True)
class Taken:
    """How a module is taken: its convention, and what trial calls have shown.

    Args:
        convention: both calls.
        sign: the sign of the log-det that forward and inverse return: -1 if it is subtracted.
        returned: whether forward and inverse return a log-det, with or without a request.
        stored: the attribute or method that has the log-det of forward, empty if there is none.
        per_entry: whether the log-det comes as one number for each entry, to be summed.
        context: the condition that each sample carries at its end; None if there is none.
        events: the shapes of data and latent, if a context is cut off from them.
        unusual: whether answers are mappings, have more than two parts, or begin with the log-det.
        wrapped: how the data are passed: "" as they are, "list" or "tuple" of one.
    """

    convention: Convention
    sign: tuple[float, float] = (1.0, 1.0)
    returned: tuple[bool, bool] = (True, True)
    stored: str = ""
    per_entry: bool = False
    unusual: bool = False
    wrapped: str = ""
    context: Context | None = None
    events: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())

    def written(self) -> str:
        """Return one line for the beginning of a report."""
        told = self.convention.written(self.context is not None)
        carried = self.convention.carried
        if self.context is not None:
            shape = ", ".join(map(str, self.context.shape))
            told += f"; a context ({shape}) for each sample"
        if self.wrapped:
            told += f"; data in a {self.wrapped} of one"
        if carried:
            verb = "added to" if self.sign[0] > 0 else "subtracted from"
            return f"{told}; log-det: {verb} the argument `{carried}`"
        if self.stored:
            return f"{told}; log-det: `{self.stored}` of the layer"
        if not self.returned[0]:
            return f"{told}; log-det: none, so it must be 0"
        return f"{told}; log-det: summed over the entries" if self.per_entry else told


class Conventional(Adapted):
    """``layer``, called by its own convention; what it returns is passed on.

    Args:
        layer: the user's module.
        taken: how it is called.
    """

    def __init__(self, layer: nn.Module, taken: Taken) -> None:
        lacks = frozenset() if taken.convention.inverse else frozenset({"inverse"})
        super().__init__(type(layer).__name__, lacks)
        self.layer = layer
        self.taken = taken

    def forward(self, x: Tensor) -> tuple[Tensor, Logdet]:
        data, context = self.cut(x, 0)
        z, logdet = self.split(self.call(self.taken.convention.forward, data, context=context))
        if self.taken.stored:
            logdet = stored_logdet(self.layer, self.taken.stored, data, z)
        elif not self.taken.returned[0]:
            logdet = x.new_zeros(len(x))
        return self.joined(z, x), self._judged(logdet, 0, data)

    def inverse(self, z: Tensor) -> tuple[Tensor, Logdet | None]:
        back = self.taken.convention.inverse
        if back is None:
            raise NotImplementedError(f"{self.name} has no inverse")
        latent, context = self.cut(z, 1)
        x, logdet = self.split(self.call(back, latent, context=context))
        return self.joined(x, z), self._judged(logdet, 1, latent)

    def cut(self, value: Tensor, direction: int) -> tuple[Tensor, Tensor | None]:
        """Return the data and the context of samples that carry one."""
        context = self.taken.context
        if context is None:
            return value, None
        if value.dim() != 2:
            raise ValueError(f"expected samples with their context (B, n), got {value.dim()} axes")
        data, entries = value[:, : -context.size], value[:, -context.size :]
        shape = self.taken.events[direction]
        return data.reshape(len(value), *shape), context.restored(entries)

    @torch.no_grad()
    def resize(self, event: tuple[int, ...]) -> None:
        """Take data of another event, with a context of the same shape; one call tells the image's.

        Raises:
            Exception: whatever the module raises at that event.
        """
        context = self.taken.context
        assert context is not None
        data = torch.full((1, *event), 0.5)
        entries = context.restored(torch.zeros(1, context.size))
        other = Conventional(copy_layer(self.layer), self.taken)
        z, _ = other.split(other.call(self.taken.convention.forward, data, context=entries))
        self.taken = replace(self.taken, events=(event, tuple(z.shape[1:])))

    def joined(self, value: Any, given: Tensor) -> Any:
        """Return a value with the context of ``given``."""
        if self.taken.context is None or not isinstance(value, Tensor) or value.dim() < 1:
            return value
        entries = given[:, -self.taken.context.size :]
        return torch.cat(
            [value.reshape(len(value), math.prod(value.shape[1:])), entries.to(value)], 1
        )

    def call(
        self,
        way: Route,
        value: Tensor,
        handed: Tensor | None = None,
        context: Tensor | None = None,
    ) -> Any:
        """Return the module's answer; ``handed (B,)`` is the log-det so far, 0 unless given."""
        keywords: dict[str, Any] = dict(way.keywords)
        if context is not None and way.context:
            keywords[way.context] = [context] if self.taken.wrapped else context
        if way.carried:
            keywords[way.carried] = value.new_zeros(len(value)) if handed is None else handed
        method = self.layer if way.method == "forward" else getattr(self.layer, way.method)
        data = {"": value, "list": [value], "tuple": (value,)}[self.taken.wrapped]
        return method(data, **keywords)

    def handed(self, value: Tensor, logdet: Tensor, inverse: bool = False) -> Tensor | None:
        """Return the log-det that comes back for one ``(B,)`` passed in; None if none is taken."""
        way = self.taken.convention.inverse if inverse else self.taken.convention.forward
        if way is None or not way.carried:
            return None
        data, context = self.cut(value, int(inverse))
        returned = self.split(self.call(way, data, logdet, context))[1]
        return returned if isinstance(returned, Tensor) else None

    def split(self, answer: Any) -> tuple[Any, Any]:
        """Return value and log-det; anything else is passed on for a check to report."""
        if self.taken.wrapped and isinstance(answer, list | tuple) and len(answer) == 1:
            answer = answer[0]
        parts = _by_name(answer)
        if parts is not None:
            return _of_mapping(answer, parts)
        if isinstance(answer, list | tuple) and len(answer) >= 2:
            value, logdet = answer[:2]
            if _is_swapped(value, logdet):
                value, logdet = logdet, value
            if self.taken.wrapped and isinstance(value, list | tuple) and len(value) == 1:
                value = value[0]
            return value, logdet
        return answer, None

    def _judged(self, logdet: Any, direction: int, like: Tensor) -> Any:
        if not isinstance(logdet, Tensor | float | int):
            return logdet
        if self.taken.per_entry and isinstance(logdet, Tensor) and logdet.shape == like.shape:
            logdet = logdet.flatten(1).sum(1)
        return logdet if self.taken.sign[direction] > 0 else -logdet


def _by_name(answer: Any) -> Mapping[Any, Any] | None:
    """Return the parts of a mapping or of a dataclass by their names; None for anything else."""
    if is_dataclass(answer) and not isinstance(answer, type):
        return {field.name: getattr(answer, field.name) for field in fields(answer)}
    return answer if isinstance(answer, Mapping) else None


def _of_mapping(answer: Any, parts: Mapping[Any, Any]) -> tuple[Any, Any]:
    """Return value and log-det of named parts: a name tells the log-det, the value is the other."""
    logdets = [value for name, value in parts.items() if is_logdet(str(name))]
    values = [value for name, value in parts.items() if not is_logdet(str(name))]
    if len(values) != 1 or len(logdets) > 1:
        return answer, None
    return values[0], logdets[0] if logdets else None


def _is_swapped(first: Any, second: Any) -> bool:
    """Whether the log-det ``(B,)`` comes before the value ``(B, ...)``."""
    tensors = isinstance(first, Tensor) and isinstance(second, Tensor)
    return tensors and first.dim() == 1 and second.dim() > 1 and len(first) == len(second)


def unusual(answer: Any) -> bool:
    """Whether an answer is neither a value nor a pair of value and log-det."""
    if _by_name(answer) is not None:
        return True
    if not isinstance(answer, list | tuple):
        return False
    return len(answer) > 2 or (len(answer) == 2 and _is_swapped(*answer))


def stored_logdet(layer: nn.Module, name: str, x: Tensor, z: Tensor) -> Any:
    """Return what an attribute holds after a call, or what a method of that name returns."""
    found = getattr(layer, name)
    if not callable(found) or isinstance(found, Tensor):
        return found
    count = len(inspect.signature(found).parameters)
    return found(*(x, z)[:count])
