"""The call of ``sample`` that a flow answers to."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emcheck._internal.randomness import seed_torch
from emcheck.checks.log_prob import at_temperature_one
from emcheck.oracle.precision import Array

Call = Callable[[int], Any]


class Sampler:
    """Samples of a flow or distribution by the first of several calls that answers.

    Args:
        target: what has ``sample`` or ``rsample``.
        shape: the shape of one sample; ``others`` are the shapes that came instead.
        context: ``(*context)`` for all samples if calls take one, else None.
        repeated: returns it for so many samples.
    """

    def __init__(
        self,
        target: Any,
        shape: tuple[int, ...],
        context: Tensor | None,
        repeated: Callable[[int], Tensor | None],
    ) -> None:
        self.target, self.size = target, math.prod(shape)
        self._context, self._repeated = context, repeated
        self._warmth: dict[str, float] = {}
        self.others: list[tuple[int, ...]] = []
        self.call = next(self._calls(), None)

    @property
    def has_temperature(self) -> bool:
        """Whether the call takes a temperature."""
        return bool(self._warmth)

    def draw(self, count: int, seed: int, temperature: float = 1.0) -> Array | None:
        """Draw ``(count, n)`` in float64; None if the call gives something else."""
        assert self.call is not None
        self._warmth.update(dict.fromkeys(self._warmth, temperature))
        drawn = self._drawn(self.call, count, seed)
        self._warmth.update(dict.fromkeys(self._warmth, 1.0))
        return drawn

    def _calls(self) -> Iterator[Call]:
        """Yield the calls that return samples of the right shape."""
        for name in ("sample", "rsample"):
            method = getattr(self.target, name, None)
            if callable(method):
                for call in self._ways(method):
                    if self._drawn(call, 3, 0) is not None:
                        yield call

    def _ways(self, method: Callable[..., Any]) -> Iterator[Call]:
        self._warmth = at_temperature_one(method)
        context, warm = self._context, self._warmth
        if context is not None:
            yield lambda n: method(n, self._repeated(n), **warm)
            yield lambda n: method(n, context[None], **warm)
            yield lambda n: method((n,), context, **warm)
            return
        yield lambda n: method((n,), **warm)
        yield lambda n: method(n, **warm)
        yield lambda n: method(n, torch.default_generator, **warm)

    def _drawn(self, call: Call, count: int, seed: int) -> Array | None:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            seed_torch(seed)
            try:
                drawn = call(count)
            except (RuntimeError, TypeError, ValueError, AttributeError):
                return None
        drawn = drawn[0] if isinstance(drawn, tuple) else drawn
        if not isinstance(drawn, Tensor):
            return None
        if drawn.numel() != count * self.size:
            if drawn.shape[:1] == (count,):
                self.others.append(tuple(drawn.shape[1:]))
            return None
        return np.asarray(drawn.detach().double().reshape(count, self.size).numpy())
