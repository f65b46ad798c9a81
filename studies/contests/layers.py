"""Side by side: what competes with what, interleaved in one process.

A contest is one task at one size with several competitors that do it; every round runs each
once, so that all meet the same noise. Ratios of medians are what is reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from emcheck.layers import (
    AutoregressiveConv2d,
    EmergingConv2d,
    PeriodicConv2d,
)
from emcheck.solve import SOLVERS, live_weight
from emcheck.solve.choose import Solver
from studies.contests import baselines, counted
from studies.contests.contest import Call, Contest, generator, normal, trained
from studies.contests.pointwise import mixings, pointwise
from studies.contests.report import POINTWISE

#: Batch, channels, side of the masked convolution: a Glow pyramid, then growing images.
PYRAMID = ((12, 16), (24, 8), (48, 4))
GROWING = tuple((12, side) for side in (32, 64, 128, 256))

#: Unknowns of the largest dense matrix, 75 MB in float32.
DENSE = 4400


def _cropped(layer: Any, x: Tensor) -> Tensor:
    """The forward with the live quadrant alone, padded on one side."""
    return F.conv2d(F.pad(x, (1, 0, 1, 0)), live_weight(layer.weight, layer.link)[:, :, :2, :2])


def _cropped_pair(layer: Any, x: Tensor) -> Tensor:
    """Both convolutions of an emerging one by their live quadrants, the first one reversed."""
    first, second = layer.first, layer.second
    y = F.conv2d(F.pad(x, (0, 1, 0, 1)), live_weight(first.weight, first.link)[:, :, 1:, 1:])
    y = F.pad(y, (1, 0, 1, 0))
    return F.conv2d(y, live_weight(second.weight, second.link)[:, :, :2, :2], layer.bias)


def _full(layer: Any, x: Tensor) -> Tensor:
    """The forward with the masked 3x3 kernel."""
    return F.conv2d(x, live_weight(layer.weight, layer.link), padding=1)


def masked(batch: int, channels: int, side: int) -> Contest:
    """The masked convolution, 3x3 square: forward in two ways, and every way back.

    Preparing the weights (mask, crop, pack) is part of every call.
    """
    layer = trained(AutoregressiveConv2d(channels, generator=generator()))
    event = channels, side, side
    x = normal(batch, event)

    calls: dict[str, Call] = {
        "forward, cropped": lambda: _cropped(layer, x),
        "forward, masked": lambda: _full(layer, x),
        "layer inverse": lambda: layer.inverse(x),
    }
    ways = SOLVERS | {"paper": baselines.paper}
    if channels * side * side <= DENSE:
        ways["dense triangular"] = baselines.dense_triangular
    ways |= {"row by row": baselines.row_by_row, "jacobi": baselines.jacobi}

    def back(solve: Solver) -> Call:
        return lambda: solve(live_weight(layer.weight, layer.link), x, "square", False, 1)

    calls |= {name: back(solve) for name, solve in ways.items()}
    return Contest("masked convolution", batch, event, calls)


def backward(batch: int, channels: int, side: int) -> Contest:
    """Gradients with respect to weight and input: through the inverse, and through conv2d."""
    layer = trained(AutoregressiveConv2d(channels, generator=generator()))
    event = channels, side, side
    x = normal(batch, event).requires_grad_()
    with torch.enable_grad():
        crop, full, back = _cropped(layer, x), _full(layer, x), layer.inverse(x)[0]
    upstream = normal(batch, event)

    def through(output: Tensor) -> Call:
        return lambda: torch.autograd.grad(output, (layer.weight, x), upstream, retain_graph=True)

    calls = {
        "conv2d, cropped": through(crop),
        "conv2d, masked": through(full),
        "inverse": through(back),
    }
    return Contest("backward", batch, event, calls)


def both_ways(layer_class: Any, batch: int, channels: int, side: int) -> Contest:
    """Forward and inverse of a layer, log-det and weight preparation included."""
    layer = trained(layer_class(channels, generator=generator()))
    event = channels, side, side
    x = normal(batch, event)
    calls: dict[str, Call] = {"forward": lambda: layer(x), "inverse": lambda: layer.inverse(x)}
    if layer_class is EmergingConv2d:
        calls["conv2d, cropped"] = lambda: (_cropped_pair(layer, x), layer.log_det(x))
    return Contest(layer_class.__name__, batch, event, calls)


def contests(large: int = 256) -> Iterator[Contest]:
    """All contests, smallest first, each built when its turn comes."""
    yield Contest(counted.MACHINE, 1, (1, 1, 1), counted.probes())
    for batch in (32, 1):
        for channels, side in (*PYRAMID, *GROWING):
            if side <= large and batch * side <= 32 * 128:
                yield masked(batch, channels, side)
    for side in (16, 32, 64, 128, 256):  # one batch for the growth with pixels
        if side <= large:
            yield masked(4, 12, side)
    for channels, side in (*PYRAMID, (12, 32), (12, 64)):
        yield both_ways(EmergingConv2d, 32, channels, side)
        yield both_ways(PeriodicConv2d, 32, channels, side)
        yield backward(32, channels, side)
    for channels, side in POINTWISE:
        if side <= large:
            yield pointwise(channels, side)
    for channels, side in ((12, 16), (24, 8), (12, 32)):
        yield mixings(channels, side)
