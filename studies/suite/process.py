"""A part of the suite in a process of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from emcheck._internal.extras import require_suite
from emcheck._internal.processes import follow_parent
from emcheck.cli import COULD_NOT_RUN, FAILED

#: Seconds that a stopped child has to end.
_PATIENCE = 20


def python(*words: str, cwd: Path, environment: Mapping[str, str]) -> int:
    """``python -m WORDS``: its exit code as one of ours; it ends when this process does.

    Else the tests of a killed run would go on beside those of the next. Ctrl-C at a terminal
    reaches this process alone, which stops the child: one that is told itself may be importing,
    and would answer with a traceback.

    Raises:
        MissingExtra: a part of the suite is not installed.
    """
    if words[0] == "pytest":
        require_suite()
    command = [sys.executable, "-m", *words]
    env = {**os.environ, **environment}
    with subprocess.Popen(command, cwd=cwd, env=env, preexec_fn=_apart) as child:
        try:
            code = child.wait()
        except KeyboardInterrupt:
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_PATIENCE)
            child.kill()
            raise
    return code if code in (0, FAILED) else COULD_NOT_RUN


def _apart() -> None:
    """In the child: a process group of its own, and an end with its parent."""
    os.setpgid(0, 0)
    if sys.platform == "linux":
        follow_parent()
