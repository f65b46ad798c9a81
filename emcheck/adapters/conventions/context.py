"""Conditions of conditional layers: each sample carries its own, at its end."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

#: What a user gives: the shape of one context, or ``f(batch, generator)``.
ContextLike = Sequence[int] | Callable[[int, torch.Generator], Tensor]


@dataclass(frozen=True)
class Context:
    """The condition of a sample, kept as the last entries of the sample.

    A conditional layer thus becomes ``(x, c) -> (z, c)``, whose log-det is that of ``x -> z``, and
    every check of rows, gradients and round trips covers the context.

    Args:
        shape: the shape of one context.
        dtype: the dtype of contexts that are no floating-point numbers (labels), else None.
        given: the user's function; None draws standard normal numbers.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype | None = None
    given: Callable[[int, torch.Generator], Tensor] | None = None

    @classmethod
    def of(cls, given: ContextLike) -> Context:
        """Return a context from what a user gives.

        Raises:
            ValueError: it is neither a shape nor a function that returns ``(batch, ...)``.
        """
        if callable(given):
            drawn = given(3, torch.Generator().manual_seed(0))
            if not isinstance(drawn, Tensor) or drawn.dim() < 1 or len(drawn) != 3:
                got = tuple(drawn.shape) if isinstance(drawn, Tensor) else type(drawn).__name__
                raise ValueError(f"expected context to return (batch, ...), got {got} for batch 3")
            dtype = None if drawn.is_floating_point() else drawn.dtype
            return cls(tuple(drawn.shape[1:]), dtype, given)
        sizes = [given] if isinstance(given, int) else given
        ordered = isinstance(sizes, Sequence) and not isinstance(sizes, str | bytes)
        shape = tuple(sizes) if ordered else ()
        whole = all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in shape)
        if not shape or not whole:
            wanted = "expected context as a shape of whole numbers >= 1 or f(batch, generator)"
            raise ValueError(f"{wanted}, got {given!r}")
        return cls(shape)

    @property
    def size(self) -> int:
        """How many entries of a sample it takes."""
        return math.prod(self.shape)

    def draw(self, batch: int, generator: torch.Generator) -> Tensor:
        """Draw ``(batch, size)`` in float64."""
        if self.given is None:
            return torch.randn((batch, self.size), generator=generator, dtype=torch.float64)
        drawn = self.given(batch, generator)
        if tuple(drawn.shape) != (batch, *self.shape):
            wanted = (batch, *self.shape)
            raise ValueError(f"expected context to return {wanted}, got {tuple(drawn.shape)}")
        return drawn.double().reshape(batch, self.size)

    def restored(self, entries: Tensor) -> Tensor:
        """Return ``(batch, *shape)`` for the layer, from the last entries of the samples."""
        found = entries.reshape(len(entries), *self.shape)
        return found if self.dtype is None else found.nan_to_num().round().to(self.dtype)
