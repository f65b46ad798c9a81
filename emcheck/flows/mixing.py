"""The layers that mix the channels between two couplings, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from emcheck.layers import (
    AutoregressiveConv2d,
    Conv1x1,
    Conv1x1PLU,
    Conv1x1QR,
    EmergingConv2d,
    ExponentialConv2d,
    OrthogonalConv2d,
    PeriodicConv2d,
    PermuteChannels,
)

#: ``stream(role)`` is a generator for each role: a layer added to a mixing changes no other draws.
Stream = Callable[[str], torch.Generator]
Build = Callable[[int, Stream], list[nn.Module]]


def _emerging(channels: int, stream: Stream) -> nn.Module:
    return EmergingConv2d(channels, generator=stream("emerging"))


def _raster(channels: int, stream: Stream) -> list[nn.Module]:
    return [
        AutoregressiveConv2d(channels, 3, "raster", reverse, generator=stream(f"raster {reverse}"))
        for reverse in (True, False)
    ]


def _shuffled(channels: int, stream: Stream) -> list[nn.Module]:
    seed = int(torch.randint(2**31, (), generator=stream("shuffle")))
    return [PermuteChannels(channels, seed)]


def _exponential(channels: int, stream: Stream) -> nn.Module:
    return ExponentialConv2d(channels, generator=stream("exponential"))


def _orthogonal(channels: int, stream: Stream) -> nn.Module:
    return OrthogonalConv2d(channels, generator=stream("orthogonal"))


def _dense(channels: int, stream: Stream) -> nn.Module:
    return Conv1x1(channels, generator=stream("1x1"))


#: name -> the layers of one mixing for ``(channels, stream)``, in the order of ``forward``.
MIXINGS: Mapping[str, Build] = {
    "reversed": lambda C, stream: [PermuteChannels(C)],
    "shuffled": _shuffled,
    "1x1": lambda C, stream: [_dense(C, stream)],
    "plu": lambda C, stream: [Conv1x1PLU(C, generator=stream("1x1"))],
    "qr": lambda C, stream: [Conv1x1QR(C, generator=stream("1x1"))],
    "1x1+emerging": lambda C, stream: [_dense(C, stream), _emerging(C, stream)],
    "emerging": lambda C, stream: [_emerging(C, stream)],
    "periodic": lambda C, stream: [PeriodicConv2d(C, generator=stream("periodic"))],
    "1x1+raster": lambda C, stream: [_dense(C, stream), *_raster(C, stream)],
    "1x1+exponential": lambda C, stream: [_dense(C, stream), _exponential(C, stream)],
    "1x1+orthogonal": lambda C, stream: [_dense(C, stream), _orthogonal(C, stream)],
}


def start_at_identity(layer: nn.Module) -> None:
    """Set the weights of every convolution inside so that it starts as the identity.

    A convolution itself gets 1 on the centre's diagonal, else 0. One of which a function is taken
    gets 0 everywhere: an exponential is then the identity bit for bit, an orthogonal convolution up
    to the rounding of its transforms.
    """
    for part in layer.modules():
        if isinstance(part, (AutoregressiveConv2d, PeriodicConv2d)):
            C, _, k, _ = part.weight.shape
            part.weight.data.zero_()
            part.weight.data[:, :, k // 2, k // 2] = torch.eye(C).to(part.weight)
        if isinstance(part, (ExponentialConv2d, OrthogonalConv2d)):
            part.weight.data.zero_()
