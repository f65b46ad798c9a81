"""The box outside of which a density is 0, whatever its ``log_prob`` returns there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from emcheck.bounds import SELDOM
from emcheck.oracle.precision import Array

#: A lower and an upper end: numbers, or one number for each entry of a sample.
SupportLike = Sequence[float | Sequence[float] | Tensor]


@dataclass(frozen=True)
class Box:
    """All ``x (n,)`` with ``low <= x <= high``.

    ``missed`` is the mass that may lie outside, 0 for a box that was given.
    """

    low: Array
    high: Array
    missed: float = 0.0

    @classmethod
    def of(cls, support: SupportLike, shape: tuple[int, ...]) -> Box:
        """The box with these ends.

        Raises:
            ValueError: not two ends, one above the other, that fit the shape of a sample.
        """
        told = f"support: expected (low, high), numbers or arrays of shape {shape}, got {support}"
        try:
            low, high = (
                np.broadcast_to(np.asarray(end, dtype=np.float64), shape).ravel() for end in support
            )
        except (TypeError, ValueError):
            raise ValueError(told) from None
        if not (low < high).all():
            raise ValueError(told)
        return cls(low, high)

    @classmethod
    def around(cls, x: Array) -> Box:
        """The smallest box that holds ``x (N, n)``.

        The mass of a density beyond one end of one axis is more than ``t`` with probability at
        most ``(1 - t)^N``.
        """
        ends = 2 * x.shape[1]
        return cls(x.min(axis=0), x.max(axis=0), ends * math.log(ends / SELDOM) / len(x))

    def holds(self, x: Array) -> Array:
        """Which rows of ``x (B, n)`` lie in the box."""
        return np.asarray(((x >= self.low) & (x <= self.high)).all(axis=1))

    def __str__(self) -> str:
        ends = [f"[{a:.4g}, {b:.4g}]" for a, b in zip(self.low, self.high, strict=True)]
        if len(ends) <= 3 and len(set(ends)) > 1:
            return " x ".join(ends)
        widest = f"[{self.low.min():.4g}, {self.high.max():.4g}]"
        power = f"^{len(ends)}" if len(ends) > 1 else ""
        return f"{widest}{power}" if len(set(ends)) == 1 else f"a box in {widest}{power}"
