"""What a matrix is made of: layers of one's own, registered layers by name, or all of those."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from emcheck import fingerprint
from emcheck.kit.loading import load_target
from emcheck.layer import Event
from emcheck.registry import REGISTRY

#: The word for every registered layer.
ALL = "all"


def named(targets: Sequence[str]) -> tuple[str, ...]:
    """The targets one by one, each loaded once to see that it is there.

    Raises:
        ValueError: what is neither ``module:factory``, a registered layer nor ``all``.
    """
    found: dict[str, None] = {}
    for target in targets:
        if target == ALL:
            found.update(dict.fromkeys(REGISTRY))
            continue
        if ":" not in target and target not in REGISTRY:
            wanted = "module:factory, a layer of emcheck list, or all"
            raise ValueError(f"expected {wanted}, got {target!r}")
        if target not in REGISTRY:
            load_target(target)
        found[target] = None
    return tuple(found)


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


def source_of(target: str) -> str:
    """The fingerprint of where a target is written: its file, or its whole package."""
    if target in REGISTRY:
        return ""  # the package itself, which every result depends on
    top, *rest = target.partition(":")[0].split(".")
    module = sys.modules[".".join((top, *rest))]
    path = Path(inspect.getsourcefile(sys.modules[top] if rest else module) or top)
    return fingerprint.of_sources(path.parent if path.name == "__init__.py" else path)
