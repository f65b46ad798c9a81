"""What a matrix is made of: layers of one's own, registered layers by name, or all of those."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from emcheck.kit.loading import load_target
from emcheck.layer import Event
from emcheck.registry import REGISTRY

#: The word for every registered layer.
ALL = "all"


def named(targets: Sequence[str]) -> dict[str, str]:
    """The targets one by one, each with the file or folder in which it is written.

    Those of others are imported once, in a process of their own, to see that they are there;
    registered layers are part of the package and have no file.

    Raises:
        ValueError: what is neither ``module:factory``, a registered layer nor ``all``.
    """
    from emcheck.isolated import locate

    found: dict[str, str] = {}
    for target in targets:
        if target == ALL:
            found.update(dict.fromkeys(REGISTRY, ""))
        elif ":" not in target and target not in REGISTRY:
            wanted = "module:factory, a layer of emcheck list, or all"
            raise ValueError(f"expected {wanted}, got {target!r}")
        else:
            found[target] = ""
    return found | locate([target for target in found if target not in REGISTRY])


def layer_of(target: str, event: Event, seed: int) -> Any:
    """What :func:`emcheck.check_layer` takes; a registered layer has the channels of the event."""
    if target not in REGISTRY:
        return load_target(target)
    build = REGISTRY[target].spec.build

    def fresh() -> nn.Module:
        return build(event[0], generator=torch.Generator().manual_seed(seed))

    return fresh


def left_out(target: str, event: Event) -> str:
    """Why a registered layer has no such event, empty if it has or if nobody can know."""
    if target not in REGISTRY:
        return ""
    spec = REGISTRY[target].spec
    if len(event) != 3:
        return f"expected (C, H, W), got {len(event)} axes"
    C, H, W = event
    if spec.min_channels > C:
        return f"expected {spec.min_channels} channels or more, got {C}"
    multiple = spec.multiple({})
    if H % multiple or W % multiple:
        return f"expected multiples of {multiple} as H and W, got {H} and {W}"
    return ""


def source_path(target: str) -> str:
    """Where an imported target is written: its file, or the folder of its package.

    A module of a folder without ``__init__.py`` stands for the whole folder; one that has no
    file at all for nothing.
    """
    module = sys.modules[target.partition(":")[0]]
    top = sys.modules[target.partition(":")[0].partition(".")[0]]
    own, whole = (getattr(found, "__file__", None) for found in (module, top))
    if top is module or not own:
        path = Path(own or whole or "")
        return str(path.parent if path.name == "__init__.py" else path) if own or whole else ""
    return str(Path(whole).parent if whole else Path(own).parent)
