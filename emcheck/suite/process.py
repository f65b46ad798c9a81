"""A part of the suite in a process of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from emcheck.commands import COULD_NOT_RUN, FAILED
from emcheck.processes import follow_parent

#: Seconds that an interrupted child has to close its files.
_PATIENCE = 20


def python(*words: str, cwd: Path, environment: Mapping[str, str]) -> int:
    """``python -m WORDS``: its exit code as one of ours; it ends when this process does.

    Else the tests of a killed run would go on beside those of the next.
    """
    command = [sys.executable, "-m", *words]
    follow = follow_parent if sys.platform == "linux" else None
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
