"""Locks: one process at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path, otherwise: str) -> Iterator[None]:
    """Hold a lock file; the system releases it, whatever happens to this process.

    Raises:
        ValueError: another process holds it; ``otherwise`` is the message.
    """
    with path.open("a") as file:
        try:
            import fcntl
        except ImportError:  # a system without locks
            yield
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(otherwise) from None
        yield
