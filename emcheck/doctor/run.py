"""All self-tests, at most two at a time, each in its own process, with a repair if one fails."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from emcheck.doctor import threads
from emcheck.doctor.canary import Canary
from emcheck.doctor.process import Conditions, run
from emcheck.doctor.repair import repaired
from emcheck.doctor.self_tests import NAMES

#: Self-tests that run at a time: more would share the cores of a small machine.
AT_ONCE = 2


def diagnose(
    timeout: float = 120.0,
    only: Sequence[str] | None = None,
    env: Mapping[str, str] | None = None,
    setup: str | None = None,
    progress: Callable[[Canary], None] | None = None,
) -> tuple[Canary, ...]:
    """Test this installation's linear algebra, FFT and convolution at the threads in use.

    Each child process starts in this process's environment and in its thread state, so that
    a call of ``torch.set_num_threads`` made by the caller is tested too. An ``env`` that
    chooses threads stands for another process and takes precedence over that state.

    Cost: about two seconds of a core for each self-test, mostly spent on importing torch.

    Args:
        timeout: seconds after which a self-test is ended and reported as hanging (an attempt
            at a repair has a limit of its own).
        only: names from ``NAMES``; all of them by default.
        env: variables to set on top of this process's environment.
        setup: Python code that each child runs before its self-test.
        progress: called with each outcome as a self-test ends, from a worker thread.

    Raises:
        ValueError: a name is not in ``NAMES``, or the time limit is not positive.
    """
    names = NAMES if only is None else tuple(only)
    if unknown := [name for name in names if name not in NAMES]:
        raise ValueError(f"expected self-tests among {', '.join(NAMES)}, got {', '.join(unknown)}")
    if not timeout > 0:
        raise ValueError(f"expected a time limit above 0 s, got {timeout:g}")
    changes = dict(env or {})
    state = None if changes.keys() & set(threads.VARIABLES) else threads.unexplained(os.environ)
    conditions = Conditions({**os.environ, **changes}, state, setup)

    def examine(name: str) -> Canary:
        canary = run(name, conditions, timeout)
        if not canary.ok:
            canary = repaired(canary, conditions)
        if progress is not None:
            progress(canary)
        return canary

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return tuple(pool.map(examine, names))
