"""What an inverse of finite accuracy declares."""

from __future__ import annotations

from torch import nn

from emcheck.adapters import (
    unadapted,
)
from emcheck.checks.case import Tolerance


def tolerance_of(given: Tolerance | None) -> Tolerance | None:
    """What an inverse declares, its function called with the layer that the user knows."""
    if given is None:
        return None
    if not callable(given):
        if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < 1:
            raise ValueError(f"expected tolerance above 0 and below 1 or a function, got {given!r}")
        return float(given)

    def set_tolerance(layer: nn.Module, tolerance: float) -> None:
        given(unadapted(layer), tolerance)

    return set_tolerance
