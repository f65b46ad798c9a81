"""A function that returns a new layer, called with care."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torch import nn

from emcheck.adapters import (
    is_of_library,
)
from emcheck.guard import foreign, one_line


def factory_of(given: object) -> Callable[[], Any] | None:
    """Return ``given`` as a function that returns a new layer, or None if it is a layer."""
    if isinstance(given, type):
        return functools.partial(_call_class, given)
    if isinstance(given, nn.Module) or is_of_library(given) or not callable(given):
        return None
    return _Factory(given)


class _Factory:
    """The user's function, which may raise anything and may work only once."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make, self.made = make, 0

    def __call__(self) -> Any:
        try:
            layer = self.make()
        except foreign() as error:
            name = getattr(self.make, "__name__", type(self.make).__name__)
            told = f"{type(error).__name__}: {one_line(error)}"
            wanted = "expected a layer or a function that returns one"
            if self.made:
                wanted = f"expected a function that returns a new layer at every call; {name} "
                wanted += "worked once, and its second call found something changed (an argument "
                wanted += "that the constructor changes, or uses up)"
            raise ValueError(f"{wanted}; {name} raised {told}") from error
        self.made += 1
        return layer


def _call_class(cls: type) -> Any:
    try:
        return cls()
    except foreign() as error:  # a constructor may raise anything
        told = f"{type(error).__name__}: {one_line(error)}"
        raise ValueError(
            f"expected a layer, got the class {cls.__name__}: call it first ({told})"
        ) from error
