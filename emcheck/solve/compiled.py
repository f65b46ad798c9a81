"""Numba's compiler, if it is installed, and whether it can cache compiled code on disk."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from emcheck.solve.choose import HAS_NUMBA

F = TypeVar("F", bound=Callable[..., Any])


def _can_keep() -> bool:
    """Whether Numba finds a folder for its cache: beside the source, or in the user's home."""
    if not HAS_NUMBA:
        return False
    import numba

    try:
        numba.njit(cache=True)(_can_keep)  # looks for the folder, and compiles nothing yet
    except RuntimeError:
        logging.getLogger("emcheck").warning(
            "Numba finds no folder that it can write: every process compiles anew, for seconds "
            "(NUMBA_CACHE_DIR names another folder)"
        )
        return False
    return True


#: For ``cache=`` of Numba's decorators in this package.
KEEP = _can_keep()


def njit(function: F) -> F:
    """Compile at the first call, keep the result if possible, run without Python's lock.

    Without Numba the function stays as it is.
    """
    if not HAS_NUMBA:
        return function
    import numba

    compiled: F = numba.njit(nogil=True, cache=KEEP)(function)
    return compiled
