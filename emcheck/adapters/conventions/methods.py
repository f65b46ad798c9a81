"""Two methods, one for each direction."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from emcheck.adapters.conventions.core import Route, convention, has_forward, route

#: What the way back is called beside ``forward``.
_BACK = (
    "inverse", "reverse", "backward", "invert", "inv", "decode", "inverse_transform", "_inverse",
    "inverse_forward", "forward_inverse", "backward_transform", "unflow", "undo", "generate",
)  # fmt: skip

#: Both directions of modules that have no ``forward``.
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
