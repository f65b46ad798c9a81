"""Every layer that the suite covers, collected from what the packages export."""

from __future__ import annotations

from types import ModuleType

from emcheck import flows, layers
from emcheck.layer import InvertibleLayer


def _exported(module: ModuleType) -> dict[str, type[InvertibleLayer]]:
    classes = {name: value for name, value in vars(module).items() if isinstance(value, type)}
    return {
        name: cls
        for name, cls in classes.items()
        if issubclass(cls, InvertibleLayer) and hasattr(cls, "spec")
    }


#: name -> class; its ``spec`` says how to build it and what it means.
REGISTRY: dict[str, type[InvertibleLayer]] = {**_exported(layers), **_exported(flows)}
