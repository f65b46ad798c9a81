"""The convention of one method for both directions and a flag."""

from __future__ import annotations

import re
from collections.abc import Iterator

from torch import nn

from emcheck.adapters.conventions.core import Route, convention, parameters_of, route

#: Names of flags that are true for the inverse, and of flags that are true for forward.
_BACK = re.compile(
    r"^(is_|do_|use_|run_)?(rev(erse)?d?|inv(erse|ert)?(ed)?|backwards?|decode|undo|generate)"
    r"(_mode|_pass|_flag|_direction)?$"
)
_THERE = re.compile(r"^(is_|do_)?(forwards?|direct|encode)(_mode|_pass)?$")


@convention("a flag")
def flag(module: nn.Module) -> Iterator[tuple[Route, Route | None]]:
    """``forward(x, reverse=False)`` and the like."""
    parameters = parameters_of(module, "forward") or {}
    flags = {name: bool(_BACK.match(name)) for name in parameters}
    for name, back in flags.items():
        if not back and not _THERE.match(name):
            continue
        default = parameters[name].default
        if default is parameters[name].empty or isinstance(default, bool):
            there = {} if default is (not back) else {name: not back}
            forward, inverse = (
                route(module, "forward", **there),
                route(module, "forward", **{name: back}),
            )
            if forward is not None:
                yield forward, inverse
