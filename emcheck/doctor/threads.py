"""The thread state of torch, so that a self-test can run in the state that is in use."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Variables by which an environment chooses threads.
VARIABLES = (
    "OMP_NUM_THREADS",
    "OMP_DYNAMIC",
    "MKL_NUM_THREADS",
    "MKL_DYNAMIC",
    "OPENBLAS_NUM_THREADS",
)

#: Names of the function that tells whether MKL may use fewer threads than allowed.
_GET_DYNAMIC = ("mkl_serv_get_dynamic", "MKL_Get_Dynamic", "mkl_get_dynamic")


@dataclass(frozen=True)
class ThreadState:
    """A number of threads, ``count``, and MKL's flag ``dynamic`` (``None`` without MKL).

    ``torch.set_num_threads`` switches ``dynamic`` off, even if the count stays the same, and
    that is what breaks batched LU: the count alone cannot show whether it was called.
    """

    count: int
    dynamic: bool | None


def current() -> ThreadState | None:
    """Return the state of torch in this process, ``None`` if torch is not imported."""
    torch = sys.modules.get("torch")
    return None if torch is None else ThreadState(torch.get_num_threads(), _dynamic(torch))


def unexplained(environment: Mapping[str, str]) -> ThreadState | None:
    """Return the state of this process if ``environment`` alone does not account for it.

    With MKL the flag is on until ``set_num_threads`` or ``MKL_DYNAMIC`` switches it off, so
    a flag that is on shows that there was no call. With ``MKL_DYNAMIC=FALSE`` a call that
    kept the count leaves no trace, and none is assumed.
    """
    state = current()
    if state is None or state.dynamic is True:
        return None
    count = environment.get("OMP_NUM_THREADS", str(os.cpu_count()))
    switched_off = environment.get("MKL_DYNAMIC", "").upper() in ("FALSE", "0")
    return None if switched_off and str(state.count) == count else state


def reproduce(state: ThreadState) -> None:
    """Bring torch in this fresh process into ``state``, as far as it differs.

    This is the project's only call of ``set_num_threads`` with more than one thread, and it is
    deliberate: if the caller is in the state that breaks batched LU, the self-test has to be
    in it too.
    """
    import torch

    here = ThreadState(torch.get_num_threads(), _dynamic(torch))
    switched_off = state.dynamic is False and here.dynamic is True
    if here.count != state.count or switched_off:
        torch.set_num_threads(state.count)


def _dynamic(torch: Any) -> bool | None:
    """Return MKL's dynamic flag, read from the library that torch has loaded."""
    for path in (Path(torch.__file__).parent / "lib").glob("*torch_cpu.*"):
        try:
            library = ctypes.CDLL(str(path))
        except OSError:
            continue
        for name in _GET_DYNAMIC:
            if hasattr(library, name):
                return bool(getattr(library, name)())
    return None
