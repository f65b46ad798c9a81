"""Which solver inverts a masked convolution: the one place that decides.

| where                                             | solver   | because                          |
|---------------------------------------------------|----------|----------------------------------|
| CPU, float32 or float64, Numba installed          | `lanes`  | faster than the forward pass     |
| any other device or dtype, or no Numba            | `tiles`  | plain torch, a few large steps   |
| by name alone (`SOLVERS["scalar"]`)               | `scalar` | the reference, and the baseline  |

All have one signature, ``substitute(weight, z, mask, reverse, dilation) -> x``, and obey the
same rounding rule (T2).
"""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Callable
from types import ModuleType

import torch
from torch import Tensor

from emcheck.solve import scalar, tiles
from emcheck.solve.masks import Mask
from emcheck.solve.numba_or_not import HAS_NUMBA

Solver = Callable[[Tensor, Tensor, Mask, bool, int], Tensor]


def choose(z: Tensor) -> Solver:
    """The fastest solver for a latent of this device and dtype."""
    if z.device.type == "cpu" and z.dtype in (torch.float32, torch.float64):
        lanes = compiled_on_cpu("lanes")
        if lanes is not None:
            solve: Solver = lanes.substitute
            return solve
    return tiles.substitute


@functools.cache
def compiled_on_cpu(name: str) -> ModuleType | None:
    """A module of compiled code, or None with one warning where it cannot be had.

    Raises nothing: whatever goes wrong, plain torch can do the work.
    """
    try:
        return importlib.import_module(f"emcheck.solve.{name}")
    except Exception as error:  # no Numba, or one that does not know this CPU
        told = f"{type(error).__name__}: {error}"
        what = "inverses of masked convolutions" if name == "lanes" else "periodic convolutions"
        warnings.warn(
            f"{what} use plain torch, which is slower ({told})", RuntimeWarning, stacklevel=3
        )
        return None


def _by_lanes(weight: Tensor, z: Tensor, mask: Mask, reverse: bool, dilation: int) -> Tensor:
    from emcheck.solve import lanes  # imports Numba

    return lanes.substitute(weight, z, mask, reverse, dilation)


#: Every solver that this installation has, by name.
SOLVERS: dict[str, Solver] = {"scalar": scalar.substitute, "tiles": tiles.substitute}
if HAS_NUMBA:
    SOLVERS["lanes"] = _by_lanes
