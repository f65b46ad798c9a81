"""Draws from inside a domain that is smaller than all of R^n."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

#: An open interval for every coordinate; None is the whole line.
Interval = tuple[float, float] | None

#: How far the logits of draws spread: 95 % lie between 0.05 and 0.95 of the interval.
_SPREAD = 1.5


@dataclass(frozen=True)
class Within:
    """``low + (high - low) sigmoid(1.5 n)``, n standard normal: never at an end."""

    low: float
    high: float

    def __call__(
        self, batch: int, event: tuple[int, ...], generator: torch.Generator
    ) -> Tensor:  # (batch, *event)
        u = torch.sigmoid(_SPREAD * _normal((batch, *event), generator))
        return self.low + (self.high - self.low) * u


@dataclass(frozen=True)
class Coordinates:
    """Standard normal, except that coordinate i of the last axis stays within +-bounds[i]."""

    bounds: dict[int, float]

    def __call__(
        self, batch: int, event: tuple[int, ...], generator: torch.Generator
    ) -> Tensor:  # (batch, *event)
        x = _normal((batch, *event), generator)
        for i, bound in self.bounds.items():
            x[..., i] = bound * (2 * torch.sigmoid(_SPREAD * x[..., i]) - 1)
        return x


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)
