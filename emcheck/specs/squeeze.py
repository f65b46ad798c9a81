"""How ``Squeeze2d`` is built and defined."""

from __future__ import annotations

from torch import nn

from emcheck.contract import Event
from emcheck.layers.squeeze import Squeeze2d
from emcheck.oracle import PermutationDefinition, squeeze_index
from emcheck.specs.core import SPECS, LayerSpec, Trait


def _define(layer: nn.Module, event: Event) -> PermutationDefinition:
    f = int(layer.factor)  # type: ignore[arg-type]
    C, H, W = event
    return PermutationDefinition(squeeze_index(event, f), event, (C * f * f, H // f, W // f))


SPECS[Squeeze2d] = LayerSpec(
    build=lambda channels, **options: Squeeze2d(**options),
    define=_define,
    options={"factor": (2, 1, 3)},
    traits=frozenset({Trait.LINEAR}),
)
