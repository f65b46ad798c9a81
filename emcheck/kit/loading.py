"""A layer named on a command line."""

from __future__ import annotations

import importlib
import operator
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from emcheck._internal.words import import_from_here
from emcheck.contract import Event
from emcheck.guard import foreign, one_line
from emcheck.specs import REGISTRY, SPECS


def load_target(target: str) -> Any:
    """Return what ``module:name`` names, imported with the working directory on the path.

    Raises:
        ValueError: a text of another form, a module that cannot be imported, an unknown name.
    """
    module_name, separator, name = target.partition(":")
    if not separator or not module_name or not name:
        raise ValueError(f"expected module:factory, got {target!r}")
    import_from_here()
    try:
        found = importlib.import_module(module_name)
    except foreign() as error:  # whatever the user's module raises is the answer
        told = f"{type(error).__name__}: {one_line(error)}"
        raise ValueError(f"cannot import {module_name}: {told}") from error
    try:
        return operator.attrgetter(name)(found)
    except foreign():  # a module may raise anything when asked for a name
        told = f"expected {name} in module {module_name}, found nothing of that name"
        raise ValueError(told) from None


def validate_name(target: str) -> None:
    """Raise unless ``target`` is ``module:factory`` or a registered layer.

    Raises:
        ValueError: anything else.
    """
    if ":" not in target and target not in REGISTRY:
        wanted = "module:factory, a layer of emcheck list, or all"
        raise ValueError(f"expected {wanted}, got {target!r}")


def layer_of(target: str, event: Event, seed: int) -> Any:
    """A target for :func:`emcheck.check_layer`; a registered one is built for the event."""
    if target not in REGISTRY:
        validate_name(target)
        return load_target(target)
    spec = SPECS[REGISTRY[target]]

    def fresh() -> nn.Module:
        return spec.new(event, {}, torch.Generator().manual_seed(seed % 2**63))

    return fresh


def source_path(target: str) -> str:
    """Return where an imported target is written: its file, or the folder of its package.

    A module in a folder without ``__init__.py`` stands for the folder; one without a file gives "".
    """
    module = sys.modules[target.partition(":")[0]]
    top = sys.modules[target.partition(":")[0].partition(".")[0]]
    own, whole = (getattr(found, "__file__", None) for found in (module, top))
    if top is module or not own:
        path = Path(own or whole or "")
        return str(path.parent if path.name == "__init__.py" else path) if own or whole else ""
    return str(Path(whole).parent if whole else Path(own).parent)
