"""How ``Woodbury2d`` is built and defined and how its parameters move."""

from __future__ import annotations

import torch
from torch import nn

from emcheck.contract import Event
from emcheck.layers.woodbury import Woodbury2d
from emcheck.oracle import LowRankDefinition, LowRankFactor, to_numpy
from emcheck.specs.core import SPECS, LayerSpec, Trait
from emcheck.specs.parameter_styles import (
    normal,
    off_diagonal,
    random_diagonal,
    random_matrix,
    set_parameter,
)

#: The axes of ``(C, H, W)`` on which a factor acts, by its name.
_AXES = {"channel": (0,), "space": (1, 2), "rows": (1,), "columns": (2,)}


def _define(layer: nn.Module, event: Event) -> LowRankDefinition:
    factors = [
        LowRankFactor(
            to_numpy(layer, f"factors.{name}.u"), to_numpy(layer, f"factors.{name}.v"), _AXES[name]
        )
        for name in layer.get_submodule("factors")._modules
    ]
    return LowRankDefinition(factors, event)


def _move(layer: nn.Module, style: str, generator: torch.Generator) -> None:
    """Give every ``I + V U`` the style's singular values; ``V`` keeps independent rows.

    ``U = V^+ (S - I)`` reaches a wanted ``S``; what ``V`` does not see is added to it. Condition
    numbers multiply over the factors, so only the first one is ill-conditioned.
    """
    for number, name in enumerate(layer.get_submodule("factors")._modules):
        own = "mixed" if style == "ill" and number else style
        u, v = (layer.get_parameter(f"factors.{name}.{part}") for part in "uv")
        d = len(v)
        rows = torch.linalg.qr(normal(v.mT, generator)).Q.mT  # orthonormal, (d, n)
        sizes = random_diagonal(d, "trained", generator)
        small = random_matrix(u[:d], own, generator) - torch.eye(d, dtype=torch.float64)
        unseen = off_diagonal(u, u.shape[0], own, generator)
        unseen -= rows.mT @ (rows @ unseen)
        set_parameter(layer, f"factors.{name}.u", rows.mT @ (small / sizes[:, None]) + unseen)
        set_parameter(layer, f"factors.{name}.v", sizes[:, None] * rows)


def _singular_channels(layer: nn.Module) -> None:
    """``U V = -e e^T`` for the first unit vector ``e``: it maps the first channel to 0."""
    u, v = (layer.get_parameter(f"factors.channel.{part}") for part in "uv")
    for parameter, first in ((u, -1.0), (v, 1.0)):
        parameter.data.zero_()
        parameter.data[0, 0] = first


SPECS[Woodbury2d] = LayerSpec(
    build=Woodbury2d,
    define=_define,
    options={
        "channel_rank": (2, 1, 3),
        "spatial_rank": (2, 1, 4),
        "spatial": ("joint", "separate"),
    },
    traits=frozenset({Trait.LINEAR}),
    move=_move,
    make_singular=_singular_channels,
    sized=True,
)
