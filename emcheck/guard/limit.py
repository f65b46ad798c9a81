"""A time limit for user code."""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeAlias, cast

Reference: TypeAlias = "weakref.ref[Any]"

#: Seconds after which the limit is raised again in code that swallowed it.
_AGAIN = 0.5

#: Seconds by which the limit is postponed while a finalizer runs, and how often at most.
_SOON, _PUT_OFF = 0.01, 50

#: Modules that load or compile code. An exception there leaves a module half loaded or is lost
#: in a compiler's callback; and what is done only once does not count as time of the layer.
_PREPARING = (
    "importlib._bootstrap",
    "numba.core.",
    "jax._src.compiler",
    "jax._src.interpreters.mlir",
)


#: Called with the seconds of every limit as it begins, so that whoever watches this process
#: from outside learns how long it may be silent.
watchers: list[Callable[[float], None]] = []


class TimeLimit(BaseException):
    """Raised inside code that ran too long; no ``except Exception`` can swallow it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise :class:`TimeLimit` in the body once it has run for ``seconds``.

    In the main thread a timer signal raises it, which also interrupts a sleep; elsewhere an
    asynchronous exception does, which takes effect between two steps of the interpreter. A
    compiled kernel that never returns cannot be interrupted from within the process. A limit
    that expires during an import or a compilation by Numba or JAX starts again instead; one that
    expires in a finalizer, where Python drops exceptions, is postponed until the finalizer has
    ended, but by half a second at most.
    """
    for watch in watchers:
        watch(seconds)
    main = threading.current_thread() is threading.main_thread()
    limited = _by_signal if main and hasattr(signal, "setitimer") else _by_exception
    with _dropped.quiet(), limited(seconds):
        yield


@contextmanager
def _by_signal(seconds: float) -> Iterator[None]:
    put_off = 0

    def stop(signum: int, frame: FrameType | None) -> None:
        nonlocal put_off
        if _prepares(frame):
            signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
        elif put_off < _PUT_OFF and _finalizes(frame):
            put_off += 1
            signal.setitimer(signal.ITIMER_REAL, _SOON, _AGAIN)
        else:
            raise TimeLimit

    before = signal.signal(signal.SIGALRM, stop)
    outer, interval = signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if outer:  # an outer timer goes on
            signal.setitimer(signal.ITIMER_REAL, outer, interval)


@contextmanager
def _by_exception(seconds: float) -> Iterator[None]:
    thread, done = threading.get_ident(), threading.Event()

    def watch() -> None:
        wait, put_off = seconds, 0
        while not done.wait(wait):
            frame = sys._current_frames().get(thread)
            if _prepares(frame):
                wait = seconds
            elif put_off < _PUT_OFF and _finalizes(frame):
                wait, put_off = _SOON, put_off + 1
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
    """Whether a frame or one of its callers is importing or compiling."""
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).startswith(_PREPARING):
            return True
        frame = frame.f_back
    return False


def _finalizes(frame: FrameType | None) -> bool:
    """Whether a frame or one of its callers is ``__del__`` or the callback of a weak reference.

    Python drops what is raised there, and the rest of the finalizer does not run.
    """
    while frame is not None:
        code = frame.f_code
        if code.co_name == "__del__":
            return True
        for name in code.co_varnames[: code.co_argcount]:
            given = frame.f_locals.get(name)
            if issubclass(type(given), weakref.ref) and cast(Reference, given)() is None:
                return True
        frame = frame.f_back
    return False


class _Dropped:
    """Silences Python's message about a dropped time limit, which is raised again anyway."""

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._before: Callable[[sys.UnraisableHookArgs], object] = sys.__unraisablehook__

    @contextmanager
    def quiet(self) -> Iterator[None]:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._before, sys.unraisablehook = sys.unraisablehook, self._told
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    sys.unraisablehook = self._before

    def _told(self, unraisable: sys.UnraisableHookArgs) -> None:
        if unraisable.exc_type is not TimeLimit:
            self._before(unraisable)


_dropped = _Dropped()


def _raise_in(thread: int) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(TimeLimit))
