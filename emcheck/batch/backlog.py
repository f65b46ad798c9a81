"""The cases that wait to be run, in tasks of a few seconds."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

from emcheck.batch.case import MatrixCase
from emcheck.contract import Event

#: Seconds of one task: far above the cost of sending it, and all that a dead worker loses.
SECONDS = 3.0

#: Most cases of one task.
MOST = 100

Pair = tuple[str, Event]


class Backlog:
    """Cases that wait; a task has cases of one target and event.

    Targets and events take turns. The first task of a pair is one case, and the others wait until
    it has shown how long a case takes, or that the target answers at all.
    """

    def __init__(self, cases: Iterable[MatrixCase]) -> None:
        self._waiting: dict[Pair, deque[MatrixCase]] = {}
        self._seconds: dict[Pair, float] = {}
        self._first: set[Pair] = set()
        self.add(cases)

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def add(self, cases: Iterable[MatrixCase]) -> None:
        for case in cases:
            self._waiting.setdefault(case.pair, deque()).append(case)

    def take(self, tasks: int) -> list[MatrixCase]:
        """Return the next task, at most an even share of the backlog among ``tasks``, or none."""
        ready = (pair for pair in self._waiting if pair not in self._first)
        pair = next(ready, None)
        if pair is None:
            return []
        cases = self._waiting.pop(pair)
        share = math.ceil((len(self) + len(cases)) / tasks)
        size = min(MOST, share, self._size(pair))
        batch = [cases.popleft() for _ in range(min(size, len(cases)))]
        if pair not in self._seconds:
            self._first.add(pair)
        if cases:
            self._waiting[pair] = cases  # behind the others
        return batch

    def learn(self, pair: Pair, seconds: float) -> None:
        """Record how long a case took; a worker's first is the slowest, so the least counts."""
        self._first.discard(pair)
        self._seconds[pair] = min(seconds, self._seconds.get(pair, seconds))

    def drop(self, pair: Pair) -> list[MatrixCase]:
        """Remove and return the cases of a pair that wait."""
        self._first.discard(pair)
        return list(self._waiting.pop(pair, ()))

    def _size(self, pair: Pair) -> int:
        if pair not in self._seconds:
            return 1
        return max(1, int(SECONDS / max(self._seconds[pair], 1e-6)))
