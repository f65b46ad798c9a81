"""A part of the suite in a process of its own."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from emcheck.commands import COULD_NOT_RUN, FAILED

#: Seconds that an interrupted child has to close its files.
_PATIENCE = 20

#: ``prctl``: which signal a process gets when its parent dies.
_PR_SET_PDEATHSIG = 1


def python(*words: str, cwd: Path, environment: Mapping[str, str]) -> int:
    """``python -m WORDS``: its exit code as one of ours; it ends when this process does."""
    command = [sys.executable, "-m", *words]
    follow = _follow_parent if sys.platform == "linux" else None
    env = {**os.environ, **environment}
    with subprocess.Popen(command, cwd=cwd, env=env, preexec_fn=follow) as child:
        try:
            code = child.wait()
        except KeyboardInterrupt:  # the terminal has told the child too: let it end
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_PATIENCE)
            child.kill()
            raise
    return code if code in (0, FAILED) else COULD_NOT_RUN


def _follow_parent() -> None:
    """Else the tests of a killed run would go on beside those of the next."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
