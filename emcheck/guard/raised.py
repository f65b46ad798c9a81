"""Exceptions of others' code: whose they are, and what they say in one line."""

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
    """Ctrl-C; what a layer raises by itself is a plain ``KeyboardInterrupt``."""


def interrupt(signum: int, frame: FrameType | None) -> None:
    """The handler of SIGINT while others' code runs."""
    raise Interrupt


def foreign() -> tuple[type[BaseException], ...]:
    """For ``except foreign() as error``: whatever the code under guard has raised by itself.

    ``SystemExit``, ``GeneratorExit`` and classes of its own among that; not a time limit, not
    Ctrl-C and not what pytest ends a test with. Where somebody handles Ctrl-C in a way of their
    own, a ``KeyboardInterrupt`` cannot be told from a layer's, and is theirs to handle.
    """
    return () if _passes_through(sys.exc_info()[1]) else (BaseException,)


def _passes_through(error: BaseException | None) -> bool:
    if isinstance(error, TimeLimit | Interrupt) or type(error).__module__.startswith("_pytest"):
        return True
    if not isinstance(error, KeyboardInterrupt):
        return False
    if threading.current_thread() is not threading.main_thread():
        return False  # Ctrl-C reaches the main thread alone
    return signal.getsignal(signal.SIGINT) not in (interrupt, signal.SIG_IGN)


def one_line(error: BaseException, most: int = 200) -> str:
    """The message of an exception without line breaks, its class where there is no message."""
    try:
        told = " ".join(str(error).split())[:most]
    except foreign():  # a message that cannot be made
        told = ""
    return told or type(error).__name__


def raised_in(error: BaseException, folder: Path) -> bool:
    """Whether the code of a folder raised it, and not a layer or a library that it called.

    A ``ValueError`` is how this package refuses what a layer has returned, and no fault of its own.
    """
    frames = traceback.extract_tb(error.__traceback__)
    there = bool(frames) and frames[-1].filename.startswith(str(folder))
    return there and not isinstance(error, ValueError | NotImplementedError)


def raised_by(error: BaseException) -> str:
    """``RuntimeError: no such key (mine.py, line 12, in forward)``: what was raised, and where."""
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
