"""What goes into JAX code and comes out of it: numbers, answers and messages."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from emcheck.guard import one_line

#: This logger repeats at length what the exception says.
_LOUD = logging.getLogger("jax._src.callback")


@contextmanager
def in_dtype(wide: bool) -> Iterator[None]:
    """Compute on the CPU, in float64 if ``wide``, in this thread and this block alone."""
    switch: Any = jax.enable_x64
    disabled, _LOUD.disabled = _LOUD.disabled, True
    try:
        with switch(wide), jax.default_device(jax.local_devices(backend="cpu")[0]):
            yield
    finally:
        _LOUD.disabled = disabled


def said_by_code(error: BaseException) -> str:
    """Return what compiled code raised, without the trace that XLA puts before it."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b.*: ", line)]
    return one_line(ValueError(said[-1].partition(": ")[2])) if said else one_line(error)


def as_pair(answer: Any, direction: str) -> tuple[Any, Any]:
    """Return ``(value, logdet)`` as arrays, or raise ``ValueError`` in one line."""
    letter = "z" if direction == "forward" else "x"
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        got = f"{letter} alone" if isinstance(answer, jax.Array) else type(answer).__name__
        got += f" of {len(answer)}" if isinstance(answer, tuple | list) else ""
        raise ValueError(f"{direction}: expected ({letter}, logdet), got {got}")
    value, logdet = answer
    known = (jax.Array, np.ndarray, np.generic, float, int)
    for name, one in ((letter, value), ("logdet", 0.0 if logdet is None else logdet)):
        if not isinstance(one, known):
            raise ValueError(f"{direction}: expected an array {name}, got {type(one).__name__}")
    return jnp.asarray(value), None if logdet is None else jnp.asarray(logdet)


def as_array(value: Any, rows: tuple[int, int] | None = None) -> np.ndarray[Any, Any]:
    """Return a NumPy array of its own memory; for ``(n, m)`` the first n rows, if it has m."""
    found = np.array(value)
    return found if rows is None or found.shape[:1] != rows[1:] else found[: rows[0]]


def beginning(error: BaseException) -> str:
    """Return the first line of a message of JAX, which goes on at length."""
    return one_line(ValueError((str(error).splitlines() or [type(error).__name__])[0]))
