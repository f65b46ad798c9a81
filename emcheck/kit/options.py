"""The options of ``check_layer``, validated."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from emcheck._internal.machine import present_devices
from emcheck.adapters import Adapted, unadapted
from emcheck.checks.case import Tolerance
from emcheck.guard import TimeLimit, time_limit

DTYPES = (torch.float32, torch.float64)


def known_dtypes(layer: object, dtypes: Sequence[torch.dtype]) -> tuple[torch.dtype, ...]:
    """Return the dtypes that the layer can hold: some keep constants of a fixed dtype."""
    known = [dtype for dtype in dtypes if dtype in DTYPES]
    if not known or len(known) != len(tuple(dtypes)):
        raise ValueError(f"expected dtypes among {[str(d) for d in DTYPES]}, got {list(dtypes)}")
    widest = layer.widest if isinstance(layer, Adapted) else None
    if widest is not None:
        known = [d for d in known if torch.finfo(d).bits <= torch.finfo(widest).bits] or known
    return tuple(known)


def present_device(device: str) -> str:
    """Return ``device`` if torch can use it here, else raise ``ValueError``."""
    present = present_devices()
    if device not in present:
        raise ValueError(f"expected a device that is here ({', '.join(present)}), got {device!r}")
    return device


def validate_numbers(seed: object, examples: object, **limits: object) -> None:
    """Raise ``ValueError`` unless seed, examples and limits are numbers in their range."""
    for name, value, least in (("seed", seed, -math.inf), ("examples", examples, 1)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            wanted = "a whole number" if name == "seed" else "1 or more"
            raise ValueError(f"expected {name} to be {wanted}, got {value!r}")
    for name, seconds in limits.items():
        if not isinstance(seconds, int | float) or not 0 < seconds < 1e7:
            raise ValueError(f"expected {name} in seconds, above 0, got {seconds!r}")


@contextmanager
def built_in_time(seconds: float) -> Iterator[None]:
    """Limit the time for building and copying a layer.

    Raises:
        ValueError: it takes longer.
    """
    try:
        with time_limit(seconds):
            yield
    except TimeLimit:
        raise ValueError(
            f"expected a layer that is built within {seconds:g} s (report_limit), got none"
        ) from None


def tolerance_of(given: Tolerance | None) -> Tolerance | None:
    """Return the declared tolerance; a function is called with the layer without its adapter."""
    if given is None:
        return None
    if not callable(given):
        if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < 1:
            raise ValueError(f"expected tolerance above 0 and below 1 or a function, got {given!r}")
        return float(given)

    def set_tolerance(layer: nn.Module, tolerance: float) -> None:
        given(unadapted(layer), tolerance)

    return set_tolerance
