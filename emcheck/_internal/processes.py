"""A child process that does not outlive its parent."""

from __future__ import annotations

import ctypes
import signal
import sys

#: ``prctl``: the signal that a process gets when its parent dies.
_PR_SET_PDEATHSIG = 1


def follow_parent() -> None:
    """End this child when its parent dies, if the system can do that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
