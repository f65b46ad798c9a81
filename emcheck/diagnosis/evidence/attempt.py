"""Measurements on layers of unknown make, which may raise anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def attempt(measure: Callable[[], T]) -> T | None:
    """What ``measure()`` returns, or None where it raises: no evidence from it."""
    try:
        return measure()
    except Exception:
        return None


def attempts(measures: list[Callable[[], T]]) -> tuple[T, ...]:
    """The results of those that did not raise."""
    return tuple(found for measure in measures if (found := attempt(measure)) is not None)
