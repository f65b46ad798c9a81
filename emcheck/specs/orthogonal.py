"""How ``OrthogonalConv2d`` is built and defined; its parameters move like those of the periodic."""

from __future__ import annotations

from torch import nn

from emcheck.contract import Event
from emcheck.layers.orthogonal import OrthogonalConv2d
from emcheck.oracle import OrthogonalDefinition, to_numpy
from emcheck.specs.core import SPECS, LayerSpec, Trait
from emcheck.specs.periodic import move_kernel


def _define(layer: nn.Module, event: Event) -> OrthogonalDefinition:
    return OrthogonalDefinition(to_numpy(layer, "weight"), event)


SPECS[OrthogonalConv2d] = LayerSpec(
    build=OrthogonalConv2d,
    define=_define,
    options={"kernel_size": (3, 1, 5, 7)},
    traits=frozenset({Trait.LINEAR, Trait.PERIODIC}),
    move=move_kernel,
)
