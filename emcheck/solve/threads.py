"""A team of threads for compiled code: torch's own threads if they can be used.

Torch's OpenMP threads wait for work by spinning. Other threads would compete with them for
the cores, so that two run no faster than one; a parallel region of the same OpenMP library
uses the threads that are there.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

Team = Callable[[int, int, int], None]

_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def run_team(function: int, argument: int, threads: int) -> None:
    """Run the C function ``void f(void *)`` at an address in ``threads`` threads, and wait."""
    if threads == 1:
        _FUNCTION(function)(argument)
    else:
        torch_team()(function, argument, threads)


@functools.cache
def torch_team() -> Team:
    """Return the team of torch's OpenMP library, or ``python_team`` if it has none."""
    folder = Path(torch.__file__).parent
    for path in [*folder.glob("lib/libgomp*"), *folder.parent.glob("torch.libs/libgomp*")]:
        try:
            parallel = ctypes.CDLL(str(path)).GOMP_parallel
        except (OSError, AttributeError):
            continue
        parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        parallel.restype = None
        return lambda function, argument, threads: parallel(function, argument, threads, 0)
    return python_team


def python_team(function: int, argument: int, threads: int) -> None:
    """Run the function in a pool of Python's threads; ctypes releases Python's lock."""
    call = _FUNCTION(function)
    for done in [_pool(threads).submit(call, argument) for _ in range(threads)]:
        done.result()


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="emcheck")
