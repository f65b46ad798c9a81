"""The choice of the solver that inverts a masked convolution.

| where                                             | solver   | because                          |
|---------------------------------------------------|----------|----------------------------------|
| CPU, float32 or float64, Numba installed          | `lanes`  | faster than the forward pass     |
| any other device or dtype, or no Numba            | `tiles`  | plain torch, a few large steps   |
| by name alone (`SOLVERS["scalar"]`)               | `scalar` | the reference, and the baseline  |

All have one signature, ``substitute(weight, z, mask, reverse, dilation) -> x``, and obey the
same rounding rule (T2). Three other tasks have compiled code besides plain torch, which
``runs_compiled`` allows: the systems of a periodic convolution (``frequencies.py``), those of a
1x1 convolution (``pixels.py``), and small products of Householder reflections
(``layers/conv1x1_qr.py``). For the forward direction ``forward.py`` chooses.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import warnings
from collections.abc import Callable
from types import ModuleType

import torch
from torch import Tensor

from emcheck.solve import tiles
from emcheck.solve.masks import Mask
from emcheck.solve.transforms import watched

HAS_NUMBA = importlib.util.find_spec("numba") is not None

Solver = Callable[[Tensor, Tensor, Mask, bool, int], Tensor]


def choose(z: Tensor) -> Solver:
    """Return the fastest solver for a latent of this device and dtype."""
    if z.device.type == "cpu" and z.dtype in (torch.float32, torch.float64):
        lanes = compiled_module("lanes")
        if lanes is not None:
            solve: Solver = lanes.substitute
            return solve
    return tiles.substitute


def runs_compiled(name: str, *tensors: Tensor) -> bool:
    """Whether compiled code that torch does not know may work on these tensors."""
    known = {torch.float32, torch.float64, torch.complex64, torch.complex128}
    return (
        all(tensor.device.type == "cpu" and tensor.dtype in known for tensor in tensors)
        and not watched(*tensors)
        and compiled_module(name) is not None
    )


@functools.cache
def compiled_module(name: str) -> ModuleType | None:
    """Return a module of compiled code, or None if it cannot load; warn once for each reason.

    It raises nothing: whatever goes wrong, plain torch can do the work.
    """
    try:
        return importlib.import_module(f"emcheck.solve.{name}")
    except Exception as error:  # no Numba, or one that does not know this CPU
        _tell(f"{type(error).__name__}: {error}")
        return None


@functools.cache
def _tell(reason: str) -> None:
    warnings.warn(
        f"layers use plain torch, which is slower, instead of compiled code ({reason})",
        RuntimeWarning,
        stacklevel=4,
    )


def _by(name: str) -> Solver:
    """Return a solver that imports its module, and Numba for a third of a second, when called."""

    def substitute(weight: Tensor, z: Tensor, mask: Mask, reverse: bool, dilation: int) -> Tensor:
        module = importlib.import_module(f"emcheck.solve.{name}")
        x: Tensor = module.substitute(weight, z, mask, reverse, dilation)
        return x

    return substitute


#: Every solver that this installation has, by name.
SOLVERS: dict[str, Solver] = {"scalar": _by("scalar"), "tiles": tiles.substitute}
if HAS_NUMBA:
    SOLVERS["lanes"] = _by("lanes")
