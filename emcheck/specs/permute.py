"""How ``PermuteChannels`` is built and defined."""

from __future__ import annotations

import numpy as np
from torch import nn

from emcheck.contract import Event
from emcheck.layers.permute import PermuteChannels
from emcheck.oracle import PermutationDefinition
from emcheck.specs.core import SPECS, LayerSpec, Trait


def _define(layer: nn.Module, event: Event) -> PermutationDefinition:
    pixels = event[1] * event[2]
    index = layer.get_buffer("index").cpu().numpy()[:, None] * pixels + np.arange(pixels)
    return PermutationDefinition(index.reshape(-1), event, event)


SPECS[PermuteChannels] = LayerSpec(
    build=PermuteChannels,
    define=_define,
    options={"seed": (None, 0, 1)},
    traits=frozenset({Trait.LINEAR, Trait.EQUIVARIANT, Trait.POINTWISE}),
)
