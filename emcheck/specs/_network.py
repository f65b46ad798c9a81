"""The network of couplings and their like: its parameters for the oracle, and how they move."""

from __future__ import annotations

import torch
from torch import nn

from emcheck.oracle import to_numpy
from emcheck.oracle.precision import Array
from emcheck.specs.parameter_styles import normal, set_parameter


def network_parameters(layer: nn.Module) -> list[tuple[Array, Array]]:
    """Return the weights and biases of ``layer.network`` for the oracle."""
    names = [(f"network.weights.{l}", f"network.biases.{l}") for l in range(_depth(layer))]
    return [(to_numpy(layer, weight), to_numpy(layer, bias)) for weight, bias in names]


def move_network(layer: nn.Module, style: str, generator: torch.Generator) -> None:
    """Set random weights of unit gain; the last layer's gain follows the style."""
    gain = {"trained": 0.3, "mixed": 0.8, "ill": 2.0}[style]
    depth = _depth(layer)
    for l in range(depth):
        weight = layer.get_parameter(f"network.weights.{l}")
        size = (gain if l + 1 == depth else 1.0) / weight[0].numel() ** 0.5
        set_parameter(layer, f"network.weights.{l}", normal(weight, generator) * size)
        bias = layer.get_parameter(f"network.biases.{l}")
        set_parameter(layer, f"network.biases.{l}", normal(bias, generator) * 0.3)


def _depth(layer: nn.Module) -> int:
    return len(list(layer.get_submodule("network.weights").parameters()))
