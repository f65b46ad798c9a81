"""How often a call is repeated, and the clock that waits for the device."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

Clock = Callable[[], float]

#: A median of seven rounds has a bootstrap interval; fewer than three show no spread at all.
_WANTED_ROUNDS, _FEWEST_ROUNDS = 7, 3

#: A round is at least this long: the clock (50 ns) and a timer interrupt (5 us) hardly count.
_SHORTEST_ROUND = 5e-4

#: Calls of which the fastest estimates the time of one.
_TRIALS = 3


@dataclass(frozen=True)
class Schedule:
    """``rounds`` rounds of ``calls`` calls each."""

    rounds: int
    calls: int


@dataclass(frozen=True)
class Budget:
    """Time for one benchmark in seconds, the most rounds, and the limit for a slow call.

    Seven rounds may take longer than ``seconds``, but not longer than ``limit``.
    """

    seconds: float
    rounds: int
    limit: float

    def schedule(self, once: float) -> Schedule:
        """Return the rounds for a call that takes ``once`` seconds."""
        calls = max(1, math.ceil(_SHORTEST_ROUND / once))
        length = calls * once
        wanted = min(_WANTED_ROUNDS, int(self.limit / length))
        rounds = max(int(self.seconds / length), wanted, _FEWEST_ROUNDS)
        return Schedule(min(rounds, self.rounds), calls)


def clock(device: str) -> Clock:
    """Return a clock in seconds that is read once all work queued on the device is done."""
    if device == "cpu":
        return time.perf_counter
    synchronise = {"cuda": torch.cuda.synchronize, "mps": torch.mps.synchronize}[device]

    def now() -> float:
        synchronise()
        return time.perf_counter()

    return now


def time_once(call: Callable[[], object], now: Clock) -> float:
    """Return the time of the fastest of a few warm calls, for planning only; never zero."""
    fastest = math.inf
    for _ in range(_TRIALS):
        start = now()
        call()
        fastest = min(fastest, now() - start)
        if fastest > 0.1:  # slow calls are not worth a second look
            break
    return max(fastest, 1e-9)


def free_memory(device: str) -> int | None:
    """Return the bytes that can still be allocated on the device, None if that is unknown."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    if device == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        known = dict(line.split(":", 1) for line in lines)
        return int(known["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
