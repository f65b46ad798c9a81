"""A contest: one task at one size, whose competitors take turns in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from benches.timing import Clock, clock
from emcheck.specs.parameter_styles import move_parameters
from studies.grown import grown

Call = Callable[[], object]

#: A call slower than this, in seconds, is measured once.
SLOWEST = 1.0

#: A first call up to this many seconds may have compiled something: the second one counts.
COMPILING = 20.0


@dataclass(frozen=True)
class Contest:
    """One task at one size: ``calls`` by name of the competitor, in at least so many rounds."""

    name: str
    batch: int
    event: tuple[int, int, int]
    calls: Mapping[str, Call] = field(default_factory=dict)
    rounds: int = 5
    device: str = "cpu"


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def trained(layer: Any) -> Any:
    """Return a layer with parameters like those after training."""
    move_parameters(layer, "trained", generator(1))
    return grown(layer)


def normal(batch: int, event: tuple[int, int, int]) -> Tensor:
    return torch.randn(batch, *event, generator=generator(2))


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
