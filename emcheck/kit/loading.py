"""A layer named on a command line."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from emcheck.guard import foreign, one_line


def load_target(target: str) -> Any:
    """What ``module:name`` names, imported with the working directory on the path.

    Raises:
        ValueError: a text of another form, a module that cannot be imported, an unknown name.
    """
    module_name, separator, name = target.partition(":")
    if not separator or not module_name or not name:
        raise ValueError(f"expected module:factory, got {target!r}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = importlib.import_module(module_name)
    except foreign() as error:  # whatever the user's module raises is the answer
        told = f"{type(error).__name__}: {one_line(error)}"
        raise ValueError(f"cannot import {module_name}: {told}") from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise ValueError(f"expected {name} in module {module_name}, found nothing of that name")
        found = getattr(found, part)
    return found


def parse_numbers(text: str, wanted: str) -> tuple[int, ...]:
    """``"4,8,6"`` as whole numbers; ``wanted`` says what they are, with an example.

    Raises:
        ValueError: anything else.
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"expected {wanted}, got {text!r}") from None


def parse_shape(text: str) -> tuple[int, ...]:
    """``"4,8,6"`` as an event.

    Raises:
        ValueError: anything else.
    """
    return parse_numbers(text, "a shape like 4,8,6")
