"""The convention of two methods, one for each direction."""

from __future__ import annotations

import re
from collections.abc import Iterator

from torch import nn

from emcheck.adapters.conventions.core import Route, convention, has_forward, route

#: Names of the inverse in modules that have ``forward``.
_BACK = (
    "inverse", "reverse", "backward", "invert", "inv", "decode", "inverse_transform", "_inverse",
    "inverse_forward", "forward_inverse", "backward_transform", "unflow", "undo", "generate",
)  # fmt: skip

#: Other pairs of names for both directions.
_PAIRS = (
    ("encode", "decode"), ("transform", "inverse_transform"), ("transform", "inverse"),
    ("flow", "unflow"), ("flow", "inverse"), ("f", "g"), ("f", "f_inv"), ("f", "inverse"),
    ("normalize", "denormalize"), ("normalize", "generate"), ("push", "pull"),
    ("to_latent", "from_latent"), ("to_latent", "to_data"), ("direct", "inverse"),
    ("apply", "invert"), ("call", "inverse"), ("fwd", "inv"), ("fwd", "bwd"),
)  # fmt: skip


@convention("two methods")
def two_methods(module: nn.Module) -> Iterator[tuple[Route, Route | None]]:
    """``forward`` beside ``inverse``, ``reverse``, ``decode`` and so on, or another such pair."""
    pairs = [("forward", back) for back in _BACK] if has_forward(module) else []
    for there, back in (*pairs, *_PAIRS):
        forward, inverse = route(module, there), route(module, back)
        if forward is not None and inverse is not None:
            yield forward, inverse


#: Parts of method names for either direction, used where none of the names above is found.
_LIKE_BACK = re.compile(
    r"(^|_)(inv|inverse|invert|rev|reverse|back|backward|decode|undo|unapply|z_to_x)($|_)"
)
_LIKE_THERE = re.compile(r"(^|_)(forward|fwd|encode|transform|apply|x_to_z|push|there)($|_)")


def by_pattern(module: nn.Module) -> Iterator[tuple[Route, Route | None]]:
    """Yield methods of the class whose names have such a part, in alphabetical order."""
    own = [name for name in dir(type(module)) if not hasattr(nn.Module, name)]
    there = ["forward"] if has_forward(module) else list(filter(_LIKE_THERE.search, own))
    for one in there:
        for back in filter(_LIKE_BACK.search, own):
            forward, inverse = route(module, one), route(module, back)
            if forward is not None and inverse is not None and one != back:
                yield forward, inverse
