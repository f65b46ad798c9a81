"""How ``AffineAutoregressive2d`` is built and defined and how its parameters move."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from emcheck.contract import Event
from emcheck.layers.affine_autoregressive import AffineAutoregressive2d
from emcheck.oracle import CENTRED, AutoregressiveDefinition, ConvFactor
from emcheck.oracle.network import Network
from emcheck.oracle.precision import Array
from emcheck.specs._network import move_network, network_parameters
from emcheck.specs.core import SPECS, LayerSpec


def _centred(weight: Array, direction: str) -> Array:
    """Return the first weight ``(O, C, n, m)`` as an ordinary kernel, tap by tap.

    Tap ``(a, b)`` reaches ``n - a`` rows before the own one and ``b - m // 2`` columns beside it.
    """
    O, C, n, m = weight.shape
    r = max(n, m // 2)
    out = np.zeros((O, C, 2 * r + 1, 2 * r + 1), dtype=weight.dtype)
    for a, b in np.ndindex(n, m):
        before, beside = n - a, b - m // 2
        down, right = {
            "top": (-before, beside),
            "bottom": (before, beside),
            "left": (beside, -before),
            "right": (beside, before),
        }[direction]
        out[:, :, r + down, r + right] = weight[:, :, a, b]
    return out


def _define(layer: nn.Module, event: Event) -> AutoregressiveDefinition:
    (first, bias), (last, last_bias) = network_parameters(layer)
    factors = ConvFactor(_centred(first, str(layer.direction))), ConvFactor(last)
    return AutoregressiveDefinition(Network(factors, (bias, last_bias)), event, CENTRED)


#: What the last weights are multiplied by, those of the shift and those of the gate, by style.
_SIZES = {"trained": (1.0, 1.0), "mixed": (1.0, 0.25), "ill": (3.0, 1e-6)}


def _move(layer: nn.Module, style: str, generator: torch.Generator) -> None:
    """Move it as a coupling, with a gate that depends less on the rows before than the shift does.

    The inverse feeds quotients by the gate back into the network. Were the gate's argument to grow
    with them, as 1 / sigmoid(-x) does, they would overflow after a few rows.
    """
    move_network(layer, style, generator)
    weight = layer.get_parameter("network.weights.1")
    for half, factor in zip(weight.data.chunk(2), _SIZES[style], strict=True):
        half *= factor


def _order(layer: nn.Module, event: Event) -> Array:
    """Return the rows or columns from the first to the last, channels inside."""
    index = np.arange(int(np.prod(event))).reshape(event)
    lines = index.transpose(1, 2, 0) if layer.direction in ("top", "bottom") else index.T
    return lines[:: -1 if layer.direction in ("bottom", "right") else 1].reshape(-1)


SPECS[AffineAutoregressive2d] = LayerSpec(
    build=AffineAutoregressive2d,
    define=_define,
    options={
        "direction": ("top", "bottom", "left", "right"),
        "reach": (2, 1, 3),
        "breadth": (5, 1, 3),
        "width": (5, 2, 16),
    },
    move=_move,
    order=_order,
)
