"""Work in forks: each piece in a process of its own, which inherits what is loaded."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

K = TypeVar("K")


@dataclass(frozen=True)
class NoAnswer:
    """What came instead of an answer: an exception, an early end, or nothing in time."""

    reason: str


@dataclass(frozen=True)
class Task(Generic[K]):
    """``work()`` is called in a fork; its answer must pickle and comes within ``limit`` seconds."""

    name: K
    work: Callable[[], Any]
    limit: float


@dataclass
class _Running(Generic[K]):
    task: Task[K]
    process: BaseProcess
    deadline: float


def in_forks(tasks: Iterable[Task[K]], jobs: int) -> Iterator[tuple[Task[K], Any]]:
    """Each task with its answer or :class:`NoAnswer`, as they finish; ``jobs`` at a time."""
    waiting = iter(tasks)
    running: dict[Connection, _Running[K]] = {}
    while True:
        while len(running) < jobs and (task := next(waiting, None)) is not None:
            connection, process = _start(task.work)
            running[connection] = _Running(task, process, time.monotonic() + task.limit)
        if not running:
            return
        soonest = min(one.deadline for one in running.values())
        ready = set(wait(list(running), timeout=max(0.0, soonest - time.monotonic())))
        now = time.monotonic()
        done = [c for c, one in running.items() if c in ready or one.deadline <= now]
        for connection in done:
            one = running.pop(connection)
            answer = _answer(connection) if connection in ready else NoAnswer("too slow")
            one.process.kill()
            one.process.join()
            connection.close()
            yield one.task, answer


def _start(work: Callable[[], Any]) -> tuple[Connection, BaseProcess]:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(work, theirs), daemon=True)
    process.start()
    theirs.close()
    return ours, process


def _child(work: Callable[[], Any], connection: Connection) -> None:
    """Answer without a word on the terminal, and leave without any clearing up."""
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    try:
        answer = work()
    except Exception as error:  # whatever it is, it is reported
        text = " ".join(str(error).split())[:200]
        answer = NoAnswer(f"raised {type(error).__name__}: {text}")
    connection.send(answer)
    connection.close()
    os._exit(0)


def _answer(connection: Connection) -> Any:
    try:
        return connection.recv()
    except EOFError:
        return NoAnswer("died")
