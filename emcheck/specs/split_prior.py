"""How ``SplitPrior2d`` is built and defined and how its parameters move."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from emcheck.contract import Event
from emcheck.layers.split_prior import SplitPrior2d
from emcheck.oracle import EXPONENTIAL, CouplingDefinition, to_numpy
from emcheck.specs.core import SPECS, LayerSpec
from emcheck.specs.parameter_styles import normal, set_parameter


def _define(layer: nn.Module, event: Event) -> CouplingDefinition:
    network = [(to_numpy(layer, "weight"), to_numpy(layer, "bias"))]
    return CouplingDefinition(network, event, EXPONENTIAL)


def _move(layer: nn.Module, style: str, generator: torch.Generator) -> None:
    """Set random weights whose output has the style's size."""
    gain = {"trained": 0.3, "mixed": 0.8, "ill": 2.0}[style]
    weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
    size = gain / weight[0].numel() ** 0.5
    set_parameter(layer, "weight", normal(weight, generator) * size)
    set_parameter(layer, "bias", normal(bias, generator) * 0.3)


SPECS[SplitPrior2d] = LayerSpec(
    build=SplitPrior2d,
    define=_define,
    min_channels=2,
    move=_move,
    order=lambda layer, event: np.arange(int(np.prod(event))),
)
