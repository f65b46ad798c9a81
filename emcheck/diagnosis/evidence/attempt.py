"""Measurements on layers, which may raise any exception."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def attempt(measure: Callable[[], T]) -> T | None:
    """Return ``measure()``, or None, which is no evidence, if it raises."""
    try:
        return measure()
    except Exception:
        return None


def attempts(measures: list[Callable[[], T]]) -> tuple[T, ...]:
    """Return the results of the measurements that neither raise nor return None."""
    return tuple(found for measure in measures if (found := attempt(measure)) is not None)
