"""1x1 convolutions beside those of libraries, and all mixings beside each other."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from emcheck._internal.randomness import stream
from emcheck.flows import Chain
from emcheck.flows.mixing import MIXINGS
from emcheck.layers import Conv1x1, Conv1x1PLU, Conv1x1QR
from studies.contests.contest import Call, Contest, generator, normal, trained


def pointwise(channels: int, side: int) -> Contest:
    """Both directions of the 1x1 convolutions, those of libraries where they are installed."""
    event, batch = (channels, side, side), 32
    x = normal(batch, event)
    calls: dict[str, Call] = {}
    kinds: dict[str, Any] = {"dense": Conv1x1, "QR": Conv1x1QR, "PLU": Conv1x1PLU}
    ours = [(name, trained(kind(channels, generator=generator()))) for name, kind in kinds.items()]
    for name, layer in (*ours, *_libraries(channels)):
        calls[name] = functools.partial(layer, x)
        calls[f"{name} inverse"] = functools.partial(layer.inverse, x)
    return Contest("1x1 convolution", batch, event, calls)


def mixings(channels: int, side: int) -> Contest:
    """Both directions of what a flow may mix with, log-dets included."""
    event, batch = (channels, side, side), 32
    x = normal(batch, event)
    calls: dict[str, Call] = {}
    for name, build in MIXINGS.items():
        chain = Chain(*map(trained, build(event, functools.partial(stream, name))))
        calls[name] = functools.partial(chain, x)
        calls[f"{name} inverse"] = functools.partial(chain.inverse, x)
    return Contest("mixing", batch, event, calls)


def _libraries(channels: int) -> Iterator[tuple[str, Any]]:
    """The 1x1 convolutions of normflows and nflows, an optional extra (``compare``)."""
    try:
        from normflows.flows.mixing import Invertible1x1Conv

        yield "normflows", Invertible1x1Conv(channels)
    except ImportError:
        pass
    try:
        from nflows.transforms.conv import OneByOneConvolution

        yield "nflows", OneByOneConvolution(channels)
    except ImportError:
        pass
