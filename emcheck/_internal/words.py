"""Words: arguments of a command line, read before slow imports, and names."""

from __future__ import annotations

import importlib.util
import os
import re
import sys


def import_from_here() -> None:
    """Let modules of the working directory be imported, as with ``python -m``."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


def require_module(target: str) -> None:
    """Raise if the top-level module of ``module:factory`` cannot be found.

    Raises:
        ValueError: there is none; nothing has been imported.
    """
    name, separator, _ = target.partition(":")
    top = name.partition(".")[0]
    if not separator or not top or top in sys.modules:
        return
    import_from_here()
    if importlib.util.find_spec(top) is None:
        raise ValueError(f"cannot import {name}: ModuleNotFoundError: No module named {top!r}")


def parse_numbers(text: str, wanted: str) -> tuple[int, ...]:
    """Return ``"4,8,6"`` as whole numbers; ``wanted`` says what they are, with an example.

    Raises:
        ValueError: anything else.
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"expected {wanted}, got {text!r}") from None


def parse_shape(text: str) -> tuple[int, ...]:
    """Return ``"4,8,6"`` as an event.

    Raises:
        ValueError: anything else.
    """
    return parse_numbers(text, "a shape like 4,8,6")


def snake_case(name: str) -> str:
    """Return ``LogdetDropped`` as ``logdet_dropped``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
