"""Numba's compiler where it is installed; without it, functions stay as they are."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

HAS_NUMBA = importlib.util.find_spec("numba") is not None


def njit(function: F) -> F:
    """Compile at the first call, keep the result on disk, run without Python's lock."""
    if not HAS_NUMBA:
        return function
    import numba

    compiled: F = numba.njit(nogil=True, cache=True)(function)
    return compiled
