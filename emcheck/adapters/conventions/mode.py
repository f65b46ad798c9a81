"""The convention of one method for both directions and a word that selects one."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from emcheck.adapters.conventions.core import Route, convention, parameters_of, route

_NAMES = ("mode", "direction", "dir", "way", "sign", "sense")

#: The words for forward and inverse.
_WORDS = (
    ("direct", "inverse"), ("forward", "inverse"), ("forward", "reverse"), ("forward", "backward"),
    ("encode", "decode"), ("normal", "inverse"), ("normal", "reverse"), ("normalize", "generate"),
    ("f", "g"), ("inference", "generation"), ("x2z", "z2x"), ("there", "back"), ("fwd", "inv"),
)  # fmt: skip


@convention("a mode")
def mode(module: nn.Module) -> Iterator[tuple[Route, Route | None]]:
    """``forward(x, mode="direct")`` and ``mode="inverse"`` for the way back."""
    parameters = parameters_of(module, "forward") or {}
    for name in _NAMES:
        if name not in parameters:
            continue
        default = parameters[name].default
        if isinstance(default, int) and not isinstance(default, bool):
            # 1 and -1, or 0 and 1
            forward = route(module, "forward")
            if forward is not None:
                yield forward, route(module, "forward", **{name: -default if default else 1})
            continue
        known = isinstance(default, str)
        for there, back in _WORDS:
            if (known and default.lower() == there) or default is parameters[name].empty:
                written = default.isupper() if known else False
                word = back.upper() if written else back
                given = {} if known else {name: there}
                forward, inverse = (
                    route(module, "forward", **given),
                    route(module, "forward", **{name: word}),
                )
                if forward is not None:
                    yield forward, inverse
