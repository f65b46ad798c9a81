"""The layers that mix the channels between two couplings, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import get_args

import torch
from torch import nn

from emcheck.contract import Event
from emcheck.layers import (
    AffineAutoregressive2d,
    AutoregressiveConv2d,
    Conv1x1,
    Conv1x1PLU,
    Conv1x1QR,
    CornerConv2d,
    EmergingConv2d,
    ExponentialConv2d,
    FourCornerConv2d,
    OrthogonalConv2d,
    PeriodicConv2d,
    PermuteChannels,
    Woodbury2d,
)
from emcheck.layers.affine_autoregressive import Direction

#: ``stream(role)`` is a generator for each role: a layer added to a mixing changes no other draws.
Stream = Callable[[str], torch.Generator]
Build = Callable[[Event, Stream], list[nn.Module]]


def _emerging(event: Event, stream: Stream) -> nn.Module:
    return EmergingConv2d(event[0], generator=stream("emerging"))


def _raster(event: Event, stream: Stream) -> list[nn.Module]:
    return [
        AutoregressiveConv2d(event[0], 3, "raster", reverse, generator=stream(f"raster {reverse}"))
        for reverse in (True, False)
    ]


def _shuffled(event: Event, stream: Stream) -> list[nn.Module]:
    seed = int(torch.randint(2**31, (), generator=stream("shuffle")))
    return [PermuteChannels(event[0], seed)]


def _exponential(event: Event, stream: Stream) -> nn.Module:
    return ExponentialConv2d(event[0], generator=stream("exponential"))


def _orthogonal(event: Event, stream: Stream) -> nn.Module:
    return OrthogonalConv2d(event[0], generator=stream("orthogonal"))


def _dense(event: Event, stream: Stream) -> nn.Module:
    return Conv1x1(event[0], generator=stream("1x1"))


def _corner(event: Event, stream: Stream) -> nn.Module:
    return FourCornerConv2d(event[0], generator=stream("corner"))


def _woodbury(event: Event, stream: Stream) -> list[nn.Module]:
    C, H, W = event
    return [Woodbury2d(C, H, W, generator=stream("woodbury"))]


#: Hidden channels of the networks of MaCow: a layer of a flow has four of them.
MACOW_WIDTH = 8


def _macow(event: Event, stream: Stream) -> list[nn.Module]:
    """One layer for each direction, 2 rows by 5 columns, with ``MACOW_WIDTH`` hidden channels."""
    return [
        AffineAutoregressive2d(
            event[0], width=MACOW_WIDTH, direction=way, generator=stream(f"macow {way}")
        )
        for way in get_args(Direction)
    ]


#: name -> the layers of one mixing for ``(event, stream)``, in the order of ``forward``.
MIXINGS: Mapping[str, Build] = {
    "reversed": lambda event, stream: [PermuteChannels(event[0])],
    "shuffled": _shuffled,
    "1x1": lambda event, stream: [_dense(event, stream)],
    "plu": lambda event, stream: [Conv1x1PLU(event[0], generator=stream("1x1"))],
    "qr": lambda event, stream: [Conv1x1QR(event[0], generator=stream("1x1"))],
    "1x1+emerging": lambda event, stream: [_dense(event, stream), _emerging(event, stream)],
    "emerging": lambda event, stream: [_emerging(event, stream)],
    "periodic": lambda event, stream: [PeriodicConv2d(event[0], generator=stream("periodic"))],
    "1x1+raster": lambda event, stream: [_dense(event, stream), *_raster(event, stream)],
    "1x1+corner": lambda event, stream: [_dense(event, stream), _corner(event, stream)],
    "1x1+exponential": lambda event, stream: [_dense(event, stream), _exponential(event, stream)],
    "1x1+orthogonal": lambda event, stream: [_dense(event, stream), _orthogonal(event, stream)],
    "woodbury": _woodbury,
    "1x1+macow": lambda event, stream: [_dense(event, stream), *_macow(event, stream)],
}


def start_at_identity(layer: nn.Module) -> None:
    """Set the weights of every convolution inside so that it starts as the identity.

    A convolution itself gets 1 on the diagonal of the tap of the pixel itself, which is the centre
    or, of a one-corner convolution, the last one, else 0. One of which a function is taken
    gets 0 everywhere: an exponential is then the identity bit for bit, an orthogonal convolution up
    to the rounding of its transforms. A Woodbury transformation starts as the identity anyway; so
    do the layers of MaCow, bit for bit.
    """
    for part in layer.modules():
        if isinstance(part, AutoregressiveConv2d | PeriodicConv2d | CornerConv2d):
            C, _, k, _ = part.weight.shape
            own = k - 1 if isinstance(part, CornerConv2d) else k // 2
            part.weight.data.zero_()
            part.weight.data[:, :, own, own] = torch.eye(C).to(part.weight)
        if isinstance(part, ExponentialConv2d | OrthogonalConv2d):
            part.weight.data.zero_()
