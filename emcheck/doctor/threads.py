"""The thread state of torch, so that a canary can be run in the state that is in use."""

from __future__ import annotations

import ctypes
import sys
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
    """``count`` threads; ``dynamic`` is MKL's flag (``None`` where there is no MKL).

    ``torch.set_num_threads`` switches ``dynamic`` off, even where it changes no count, and
    that is what breaks batched LU: the count alone cannot show whether it was called.
    """

    count: int
    dynamic: bool | None


def current() -> ThreadState | None:
    """The state of torch in this process; ``None`` where torch is not imported."""
    torch = sys.modules.get("torch")
    return None if torch is None else ThreadState(torch.get_num_threads(), _dynamic(torch))


def reproduce(state: ThreadState) -> None:
    """Bring torch in this fresh process into ``state`` as far as it differs.

    The only call of ``set_num_threads`` with more than one thread in the project, and a
    deliberate one: where the caller is in the state that breaks batched LU, the canary has
    to be in it too.
    """
    import torch

    here = ThreadState(torch.get_num_threads(), _dynamic(torch))
    switched_off = state.dynamic is False and here.dynamic is True
    if here.count != state.count or switched_off:
        torch.set_num_threads(state.count)


def _dynamic(torch: Any) -> bool | None:
    """MKL's dynamic flag, read from the library that torch has loaded."""
    for path in (Path(torch.__file__).parent / "lib").glob("*torch_cpu.*"):
        try:
            library = ctypes.CDLL(str(path))
        except OSError:
            continue
        for name in _GET_DYNAMIC:
            if hasattr(library, name):
                return bool(getattr(library, name)())
    return None
