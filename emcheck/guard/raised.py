"""Exceptions of user code: who raised them, and what they say in one line."""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from pathlib import Path
from types import FrameType

from emcheck.guard.limit import TimeLimit

#: The folder of this package.
_HERE = str(Path(__file__).parent.parent)


class Interrupt(KeyboardInterrupt):
    """Ctrl-C; an interrupt that a layer raises itself is a plain ``KeyboardInterrupt``."""


def interrupt(signum: int, frame: FrameType | None) -> None:
    """Handle SIGINT while user code runs."""
    raise Interrupt


def foreign() -> tuple[type[BaseException], ...]:
    """Return what ``except foreign() as error`` catches: all that the guarded code itself raised.

    This includes ``SystemExit``, ``GeneratorExit`` and classes of its own, but not a time limit,
    Ctrl-C or what pytest ends a test with. If the caller has another handler of Ctrl-C, a
    ``KeyboardInterrupt`` cannot be told from a layer's and is left to the caller.
    """
    return () if _passes_through(sys.exc_info()[1]) else (BaseException,)


def _passes_through(error: BaseException | None) -> bool:
    if isinstance(error, TimeLimit | Interrupt) or type(error).__module__.startswith("_pytest"):
        return True
    if not isinstance(error, KeyboardInterrupt):
        return False
    if threading.current_thread() is not threading.main_thread():
        return False  # Ctrl-C reaches the main thread only
    return signal.getsignal(signal.SIGINT) not in (interrupt, signal.SIG_IGN)


def one_line(error: BaseException, most: int = 200) -> str:
    """Return the message of an exception on one line, or its class if it has no message."""
    try:
        told = " ".join(str(error).split())[:most]
    except foreign():  # making the message raises too
        told = ""
    return told or type(error).__name__


def raised_in(error: BaseException, folder: Path) -> bool:
    """Whether the code of a folder raised it, and not a layer or a library that the code called.

    ``ValueError``, which refuses what a layer returned, and ``NotImplementedError`` do not count.
    """
    frames = traceback.extract_tb(error.__traceback__)
    there = bool(frames) and frames[-1].filename.startswith(str(folder))
    return there and not isinstance(error, ValueError | NotImplementedError)


def raised_by(error: BaseException) -> str:
    """Return what was raised and where: ``RuntimeError: no key (mine.py, line 12, in forward)``."""
    told, name = one_line(error), type(error).__name__
    told = name if told == name else f"{name}: {told}"
    frames = traceback.extract_tb(error.__traceback__)
    others = [f for f in frames if not f.filename.startswith((_HERE, "<"))]
    if not others or "site-packages" in others[-1].filename:
        others = [f for f in others if "site-packages" not in f.filename] or others[-1:]
    if not others:
        return told
    last = others[-1]
    return f"{told} ({Path(last.filename).name}, line {last.lineno}, in {last.name})"
