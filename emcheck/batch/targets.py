"""The targets of a matrix: the user's layers, registered layers by name, or all of those."""

from __future__ import annotations

from collections.abc import Sequence

from emcheck.contract import Event
from emcheck.isolated import locate
from emcheck.kit.loading import validate_name
from emcheck.specs import REGISTRY, SPECS

#: The word for every registered layer.
ALL = "all"


def named(targets: Sequence[str]) -> dict[str, str]:
    """Return the targets one by one, each with the file or folder in which it is written.

    The user's are imported once, in a process of their own, to see that they are there; registered
    layers are part of the package and have no file.

    Raises:
        ValueError: what is neither ``module:factory``, a registered layer nor ``all``.
    """
    found: dict[str, str] = {}
    for target in targets:
        if target == ALL:
            found.update(dict.fromkeys(REGISTRY, ""))
        else:
            validate_name(target)
            found[target] = ""
    return found | locate([target for target in found if target not in REGISTRY])


def left_out(target: str, event: Event) -> str:
    """Return why a registered layer has no such event, empty if it has or if that is unknown."""
    if target not in REGISTRY:
        return ""
    spec = SPECS[REGISTRY[target]]
    if len(event) != 3:
        return f"expected (C, H, W), got {len(event)} axes"
    C, H, W = event
    if spec.min_channels > C:
        return f"expected {spec.min_channels} channels or more, got {C}"
    multiple = spec.multiple({})
    if H % multiple or W % multiple:
        return f"expected multiples of {multiple} as H and W, got {H} and {W}"
    return ""
