"""A time limit for code of unknown make."""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

#: Seconds after which the limit is said again to code that swallowed it.
_AGAIN = 0.5

#: Seconds after which the limit is said where an exception would have been lost.
_SOON = 0.01

#: What loads or compiles code. An exception within leaves half a module behind, or is lost in
#: a callback of the compiler; and what is done once is no time of the layer.
_PREPARING = ("importlib._bootstrap", "numba.core.")


#: Called with the seconds of every limit as it begins: who watches this process from outside
#: learns how long it may be silent.
watchers: list[Callable[[float], None]] = []


class TimeLimit(BaseException):
    """Raised inside code that ran too long; no ``except Exception`` can swallow it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise :class:`TimeLimit` in the body once it has run for ``seconds``.

    In the main thread by a timer signal, which also interrupts a sleep; elsewhere by an
    asynchronous exception, which takes effect between two steps of the interpreter. A
    compiled kernel that never returns cannot be interrupted from within the process. A limit
    that would strike within an import or a compilation by Numba begins anew instead.
    """
    for watch in watchers:
        watch(seconds)
    main = threading.current_thread() is threading.main_thread()
    limited = _by_signal if main and hasattr(signal, "setitimer") else _by_exception
    with limited(seconds):
        yield


@contextmanager
def _by_signal(seconds: float) -> Iterator[None]:
    def stop(signum: int, frame: FrameType | None) -> None:
        if frame is not None and frame.f_globals.get("__name__") == "weakref":
            signal.setitimer(signal.ITIMER_REAL, _SOON, _AGAIN)  # nobody would hear it there
            return
        if not _prepares(frame):
            raise TimeLimit
        signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)

    before = signal.signal(signal.SIGALRM, stop)
    outer, interval = signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if outer:  # somebody else's timer goes on
            signal.setitimer(signal.ITIMER_REAL, outer, interval)


@contextmanager
def _by_exception(seconds: float) -> Iterator[None]:
    thread, done = threading.get_ident(), threading.Event()

    def watch() -> None:
        wait = seconds
        while not done.wait(wait):
            if _prepares(sys._current_frames().get(thread)):
                wait = seconds
            else:
                _raise_in(thread)
                wait = _AGAIN

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _prepares(frame: FrameType | None) -> bool:
    """Whether an import or a compilation is under way in a frame or in what called it."""
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).startswith(_PREPARING):
            return True
        frame = frame.f_back
    return False


def _raise_in(thread: int) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(TimeLimit))
