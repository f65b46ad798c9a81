"""A child process that does not outlive its parent."""

from __future__ import annotations

import ctypes
import signal
import sys

#: ``prctl``: which signal a process gets when its parent dies.
_PR_SET_PDEATHSIG = 1


def follow_parent() -> None:
    """Called in a child: it is ended when its parent dies, where the system can do that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
