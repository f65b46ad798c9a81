"""Side by side: what competes with what, interleaved in one process.

A contest is one task at one size with several competitors that do it; every round runs each
once, so that all meet the same noise. Ratios of medians are what is reported.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benches.timing import Clock, clock
from emcheck._internal.randomness import stream
from emcheck.flows import Chain
from emcheck.flows.mixing import MIXINGS
from emcheck.layers import (
    AutoregressiveConv2d,
    Conv1x1,
    Conv1x1PLU,
    Conv1x1QR,
    EmergingConv2d,
    PeriodicConv2d,
)
from emcheck.solve import SOLVERS, live_weight
from emcheck.solve.choose import Solver
from emcheck.specs.parameter_styles import move_parameters
from studies.contests import baselines, counted
from studies.contests.report import POINTWISE

Call = Callable[[], object]

#: Batch, channels, side of the masked convolution: a Glow pyramid, then growing images.
PYRAMID = ((12, 16), (24, 8), (48, 4))
GROWING = tuple((12, side) for side in (32, 64, 128, 256))

#: A call slower than this, in seconds, is measured once.
SLOWEST = 1.0

#: A first call up to this many seconds may have compiled something: the second one counts.
COMPILING = 20.0

#: Unknowns of the largest dense matrix, 75 MB in float32.
DENSE = 4400


@dataclass(frozen=True)
class Contest:
    """One task at one size: ``calls`` by name of the competitor, in at least so many rounds."""

    name: str
    batch: int
    event: tuple[int, int, int]
    calls: Mapping[str, Call] = field(default_factory=dict)
    rounds: int = 5
    device: str = "cpu"


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _trained(layer: Any) -> Any:
    move_parameters(layer, "trained", _generator(1))
    return layer


def _normal(batch: int, event: tuple[int, int, int]) -> Tensor:
    return torch.randn(batch, *event, generator=_generator(2))


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
    layer = _trained(AutoregressiveConv2d(channels, generator=_generator()))
    event = channels, side, side
    x = _normal(batch, event)

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
    layer = _trained(AutoregressiveConv2d(channels, generator=_generator()))
    event = channels, side, side
    x = _normal(batch, event).requires_grad_()
    with torch.enable_grad():
        crop, full, back = _cropped(layer, x), _full(layer, x), layer.inverse(x)[0]
    upstream = _normal(batch, event)

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
    layer = _trained(layer_class(channels, generator=_generator()))
    event = channels, side, side
    x = _normal(batch, event)
    calls: dict[str, Call] = {"forward": lambda: layer(x), "inverse": lambda: layer.inverse(x)}
    if layer_class is EmergingConv2d:
        calls["conv2d, cropped"] = lambda: (_cropped_pair(layer, x), layer.log_det(x))
    return Contest(layer_class.__name__, batch, event, calls)


def pointwise(channels: int, side: int) -> Contest:
    """Both directions of the 1x1 convolutions, those of libraries where they are installed."""
    event, batch = (channels, side, side), 32
    x = _normal(batch, event)
    calls: dict[str, Call] = {}
    kinds: dict[str, Any] = {"dense": Conv1x1, "QR": Conv1x1QR, "PLU": Conv1x1PLU}
    ours = [
        (name, _trained(kind(channels, generator=_generator()))) for name, kind in kinds.items()
    ]
    for name, layer in (*ours, *_libraries(channels)):
        calls[name] = functools.partial(layer, x)
        calls[f"{name} inverse"] = functools.partial(layer.inverse, x)
    return Contest("1x1 convolution", batch, event, calls)


def mixings(channels: int, side: int) -> Contest:
    """Both directions of what a flow may mix with, log-dets included."""
    event, batch = (channels, side, side), 32
    x = _normal(batch, event)
    calls: dict[str, Call] = {}
    for name, build in MIXINGS.items():
        chain = Chain(*map(_trained, build(event, functools.partial(stream, name))))
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


@torch.no_grad()
def compete(contest: Contest, seconds: float) -> Iterator[dict[str, Any]]:
    """Run a contest for about ``seconds``; one record for each competitor.

    ``first`` is the first call of a competitor in this process, ``seconds`` the median of the
    warm ones.
    A competitor slower than ``SLOWEST`` is measured once.
    """
    first, reach, now = {}, {}, clock(contest.device)
    for name, call in contest.calls.items():
        first[name] = seconds_of(call, 1, now)
        reach[name] = seconds_of(call, 1, now) if first[name] < COMPILING else first[name]
    calls = {name: max(1, round(2e-3 / once)) for name, once in reach.items()}
    quick = [name for name in contest.calls if reach[name] < SLOWEST]
    one_round = sum(max(2e-3, reach[name]) for name in quick)
    rounds = min(41, max(contest.rounds, int(seconds / one_round)))
    times: dict[str, list[float]] = {name: [] for name in contest.calls}
    for _ in range(rounds):
        for name in quick:
            if reach[name] < 0.2 or len(times[name]) < 3:  # slow ones need no more
                times[name].append(seconds_of(contest.calls[name], calls[name], now))
    for name in contest.calls:
        yield {
            "contest": contest.name,
            "batch": contest.batch,
            "event": "x".join(map(str, contest.event)),
            "competitor": name,
            "seconds": statistics.median(times[name] or [first[name]]),
            "rounds": len(times[name]) or 1,
            "first": first[name],
        }


def seconds_of(call: Call, repetitions: int, now: Clock = time.perf_counter) -> float:
    """Seconds for one of several calls in a row."""
    start = now()
    for _ in range(repetitions):
        call()
    return (now() - start) / repetitions
