"""A portion of what could be tried runs by default; the rest is marked ``exhaustive``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def portion(values: Iterable[Any], of: int = 6, always: Iterable[Any] = ()) -> list[Any]:
    """``values`` as parameters: one in ``of`` runs by default, and what is in ``always``."""
    kept = set(always)
    return [
        value
        if number % of == 0 or value in kept
        else pytest.param(value, marks=pytest.mark.exhaustive)
        for number, value in enumerate(values)
    ]
