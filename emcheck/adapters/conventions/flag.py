"""One method for both directions, and a flag."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from emcheck.adapters.conventions.core import Route, convention, parameters_of, route

#: Flags that are true on the way back, and flags that are true on the way there.
_BACK = (
    "reverse",
    "inverse",
    "invert",
    "rev",
    "inv",
    "backward",
    "reversed",
    "is_reverse",
    "decode",
)
_THERE = ("forward", "direct", "encode")


@convention("a flag")
def flag(module: nn.Module) -> Iterator[tuple[Route, Route | None]]:
    """``forward(x, reverse=False)`` and the like."""
    parameters = parameters_of(module, "forward") or {}
    for name, back in [*((n, True) for n in _BACK), *((n, False) for n in _THERE)]:
        if name not in parameters:
            continue
        default = parameters[name].default
        if default is parameters[name].empty or isinstance(default, bool):
            there = {} if default is (not back) else {name: not back}
            forward, inverse = (
                route(module, "forward", **there),
                route(module, "forward", **{name: back}),
            )
            if forward is not None:
                # the flag that is left at its default is none that is missing
                yield forward, inverse
