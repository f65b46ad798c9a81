"""How the coupling layers are built and defined and how their parameters move."""

from __future__ import annotations

import numpy as np
from torch import nn

from emcheck.contract import Event
from emcheck.layers.coupling import AdditiveCoupling2d, AffineCoupling2d
from emcheck.oracle import SIGMOID, CouplingDefinition
from emcheck.oracle.precision import Array
from emcheck.specs._network import move_network, network_parameters
from emcheck.specs.core import SPECS, LayerSpec


def _natural_order(layer: nn.Module, event: Event) -> Array:
    return np.arange(int(np.prod(event)))


def _define_affine(layer: nn.Module, event: Event) -> CouplingDefinition:
    return CouplingDefinition(network_parameters(layer), event, SIGMOID)


def _define_additive(layer: nn.Module, event: Event) -> CouplingDefinition:
    return CouplingDefinition(network_parameters(layer), event, None)


SPECS[AffineCoupling2d] = LayerSpec(
    build=AffineCoupling2d,
    define=_define_affine,
    options={"width": (5, 2, 16)},
    min_channels=2,
    move=move_network,
    order=_natural_order,
)


SPECS[AdditiveCoupling2d] = LayerSpec(
    build=AdditiveCoupling2d,
    define=_define_additive,
    options={"width": (5, 2, 16)},
    min_channels=2,
    move=move_network,
    order=_natural_order,
)
