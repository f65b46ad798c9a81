"""A portion of what could be tried runs by default; the rest is marked ``exhaustive``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def portion(values: Iterable[Any], of: int = 6, always: Iterable[Any] = ()) -> list[Any]:
    """``values`` as parameters: one in ``of`` runs by default, and what is in ``always``."""
    kept = list(always)
    return [
        value if number % of == 0 or value in kept else _exhaustive(value)
        for number, value in enumerate(values)
    ]


def _exhaustive(value: Any) -> Any:
    """One parameter, or several with marks of their own, marked."""
    given = value if hasattr(value, "marks") else pytest.param(value)
    marks = [*given.marks, pytest.mark.exhaustive]
    return pytest.param(*given.values, marks=marks, id=given.id)
