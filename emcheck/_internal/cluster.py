"""A Dask cluster, started here or already running, and its tasks as they end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from typing import Any, TypeVar

from emcheck._internal.extras import extra_named
from emcheck.guard import one_line

#: Seconds between two polls of the tasks, and between two polls of the workers.
_POLL, _LOOK = 0.05, 2.0

#: Seconds without any worker after which waiting ends.
_PATIENCE = 60.0

What = TypeVar("What")


class ClusterLost(ValueError):
    """Raised when no worker is left that could finish the tasks."""


@contextmanager
def connected(scheduler: str | None, workers: int, deaths: int = 3) -> Iterator[Any]:
    """Yield a Dask client.

    Args:
        scheduler: address of a running scheduler; a local cluster if None.
        workers: processes of the local cluster, each of one thread.
        deaths: worker deaths that a task survives on the local cluster.

    Raises:
        ValueError: an unreachable scheduler, no workers wanted, or no Dask.
    """
    if workers < 1:
        raise ValueError(f"expected at least 1 worker, got {workers}")
    with extra_named():
        import dask
        from distributed import Client, LocalCluster
    if scheduler is not None:
        with _silent():
            try:
                client = Client(scheduler, timeout="10s")
            except (OSError, ValueError) as error:
                told = one_line(error)
                raise ValueError(f"{scheduler}: expected a Dask scheduler, got {told}") from None
            with client:
                yield client
        return
    with ExitStack() as stack:
        stack.enter_context(_environment_kept())  # Dask sets its workers' threads here, for good
        stack.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": deaths}))
        with _deaf_to_ctrl_c():
            cluster = stack.enter_context(
                LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    host="127.0.0.1",
                    # No dashboard; its port, which cannot be left out, is a free one of this
                    # machine: the default one is taken where another cluster runs.
                    dashboard_address=None,
                    scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
                    silence_logs=logging.CRITICAL,  # the caller reports a dead worker
                )
            )
        client = stack.enter_context(Client(cluster))
        yield client


@contextmanager
def _silent() -> Iterator[None]:
    """Keep Dask from logging tracebacks, since the caller reports what happens."""
    handlers = [
        handler
        for name in ("distributed", "distributed.client")
        for handler in logging.getLogger(name).handlers
    ]
    before = [handler.level for handler in handlers]
    for handler in handlers:
        handler.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for handler, level in zip(handlers, before, strict=True):
            handler.setLevel(level)


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Keep Ctrl-C from threads and processes that start here: this process stops them.

    A worker would print the traceback of whatever it was doing. The signal is blocked, and what
    starts inherits that, including workers that the cluster replaces later.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # its start would unblock the signal again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment_kept() -> Iterator[None]:
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before:
            del os.environ[name]
        os.environ.update(before)


def threads(client: Any) -> int:
    """Return how many tasks the cluster can run at a time; 0 while it has no worker."""
    try:
        return sum(client.nthreads().values())
    except OSError:  # the scheduler does not answer
        return 0


def ended(
    client: Any, tasks: MutableMapping[Any, What]
) -> Iterator[tuple[What, Any, BaseException | None]]:
    """Yield each task as it ends, with its value or its exception; more may be added meanwhile.

    Raises:
        ClusterLost: the scheduler is gone, or there has been no worker for a minute.
    """
    looked = staffed = time.monotonic()
    while tasks:
        before = len(tasks)
        for future in [future for future in tasks if _is_done(future)]:
            fetched = _fetched(future)
            if fetched is not None:
                future.release()
                yield tasks.pop(future), *fetched
        now = time.monotonic()
        if now - looked > _LOOK:
            looked = now
            staffed = now if threads(client) else staffed
        if now - staffed > _PATIENCE:
            raise ClusterLost(
                f"the Dask cluster has had no worker for {_PATIENCE:g} s; what was written is kept"
            )
        if len(tasks) == before:
            time.sleep(_POLL)


def _is_done(future: Any) -> bool:
    if future.status in ("lost", "cancelled"):
        raise ClusterLost("the Dask scheduler is gone; what was written is kept")
    return bool(future.done())


def _fetched(future: Any) -> tuple[Any, BaseException | None] | None:
    """Return the value or the exception; None if it died with its worker and is computed again."""
    try:
        return future.result(timeout=_PATIENCE), None
    except (TimeoutError, asyncio.TimeoutError):
        return None
    except Exception as error:  # what a task raised, or what became of its workers
        return None, error
