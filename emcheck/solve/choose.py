"""The choice of the solver that inverts a masked convolution.

| where                                          | solver        | because                         |
|------------------------------------------------|---------------|---------------------------------|
| CPU, float32 or float64, Numba installed       | `lanes`       | faster than the forward pass    |
| CUDA, float32 or float64, Triton passes trials | `triton_rows` | few launches, not some a step   |
| otherwise                                      | `tiles`       | plain torch, a few large steps  |
| by name alone (`SOLVERS["scalar"]`)            | `scalar`      | the reference, and the baseline |

All have one signature, ``substitute(weight, z, mask, reverse, dilation) -> x``, and obey the
same rounding rule (T2). Each variant of the Triton kernel is tried once on each GPU
(``trial.py``), because what its compiler makes there has not been seen before; a variant that
fails is never used. Three other tasks have compiled code besides plain torch, which
``runs_compiled`` allows: the systems of a periodic convolution (``frequencies.py``), those of a
1x1 convolution (``pixels.py``), and small products of Householder reflections
(``layers/conv1x1_qr.py``). For the forward direction ``forward.py`` chooses.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import traceback
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import TypeVar

import torch
from torch import Tensor

from emcheck.bounds import Measure
from emcheck.solve import tiles
from emcheck.solve.masks import Mask
from emcheck.solve.transforms import batched, watched
from emcheck.solve.trial import try_solver

HAS_NUMBA = importlib.util.find_spec("numba") is not None

T = TypeVar("T")

Solver = Callable[[Tensor, Tensor, Mask, bool, int], Tensor]


def choose(z: Tensor) -> Solver:
    """Return the fastest solver for a latent of this device and dtype."""
    if z.dtype in (torch.float32, torch.float64):
        if z.device.type == "cpu":
            if not batched(z) and compiled_module("lanes") is not None:
                return _lanes_or_tiles
        elif z.device.type == "cuda" and torch.version.hip is None:
            return choose_on_gpu(z)
    return tiles.substitute


def _lanes_or_tiles(weight: Tensor, z: Tensor, mask: Mask, reverse: bool, dilation: int) -> Tensor:
    given = weight, z, mask, reverse, dilation
    return attempt("lanes", lambda: SOLVERS["lanes"](*given), lambda: tiles.substitute(*given))


def choose_on_gpu(z: Tensor) -> Solver:
    """Return the Triton kernel if it is installed and passes its trial, else the wavefront.

    The kernel reads memory by address: a subclass of tensors or a batched one gets the wavefront.
    """
    if type(z) not in (Tensor, torch.nn.Parameter) or batched(z) or z.numel() == 0:
        return tiles.substitute
    kernel = compiled_module("triton_rows")
    if kernel is None or not passes_trial(z.device, z.dtype, *kernel.variant(*z.shape[1:3])):
        return tiles.substitute
    solve: Solver = kernel.substitute
    return solve


@functools.cache
def passes_trial(device: torch.device, dtype: torch.dtype, rows: int, channels: int) -> bool:
    """Whether the Triton kernel, compiled for so many rows and channels, obeys rule T2.

    It raises nothing: an error, or a wrong result, becomes one warning.
    """
    try:
        kernel = importlib.import_module("emcheck.solve.triton_rows")
        shape = kernel.trial_shape(rows, channels)
        measure: Measure = try_solver(kernel.substitute, shape, dtype, device)
    except Exception as error:
        _tell(_line(error))
        return False
    if not measure.ok:
        _tell(f"Triton on {device}, {dtype}: error {measure.ratio:.2g} times the bound of rule T2")
    return measure.ok


def runs_compiled(name: str, *tensors: Tensor) -> bool:
    """Whether compiled code that torch does not know may work on these tensors."""
    known = {torch.float32, torch.float64, torch.complex64, torch.complex128}
    return (
        all(tensor.device.type == "cpu" and tensor.dtype in known for tensor in tensors)
        and not watched(*tensors)
        and compiled_module(name) is not None
    )


#: Module of compiled code -> the module, None if it cannot load or its code did not compile.
_modules: dict[str, ModuleType | None] = {}


def compiled_module(name: str) -> ModuleType | None:
    """Return a module of compiled code, or None if it cannot load; warn once for each reason.

    It raises nothing: whatever goes wrong, plain torch can do the work.
    """
    if name not in _modules:
        try:
            _modules[name] = importlib.import_module(f"emcheck.solve.{name}")
        except Exception as error:  # no compiler, or one that does not know this machine
            _give_up(name, error)
    return _modules[name]


def attempt(name: str, compiled: Callable[[], T], plain: Callable[[], T]) -> T:
    """Return ``compiled()``, which calls code of a module; if that fails, ``plain()``.

    The first call of each kind compiles it. If the compiler fails, one warning says so, and
    ``compiled_module`` returns None for this module from then on.

    What else goes wrong in ``compiled`` is raised.
    """
    try:
        return compiled()
    except Exception as error:
        if not _from_compiler(error):
            raise
        _give_up(name, error)
        return plain()


def _from_compiler(error: Exception) -> bool:
    frames = traceback.walk_tb(error.__traceback__)
    modules = {str(frame.f_globals.get("__name__")).partition(".")[0] for frame, _ in frames}
    return not modules.isdisjoint({"numba", "llvmlite"})


def _give_up(name: str, error: Exception) -> None:
    _modules[name] = None
    _tell(_line(error))


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


@functools.cache
def _tell(reason: str) -> None:
    warnings.warn(
        f"layers use plain torch, which is slower, instead of compiled code ({reason})",
        RuntimeWarning,
        stacklevel=4,
    )


def _by(name: str) -> Solver:
    """Return a solver that imports its module, and a compiler for a third of a second, on call."""

    def substitute(weight: Tensor, z: Tensor, mask: Mask, reverse: bool, dilation: int) -> Tensor:
        module = importlib.import_module(f"emcheck.solve.{name}")
        x: Tensor = module.substitute(weight, z, mask, reverse, dilation)
        return x

    return substitute


#: Every solver for tensors of a CPU that this installation has, by name.
SOLVERS: dict[str, Solver] = {"scalar": _by("scalar"), "tiles": tiles.substitute}
if HAS_NUMBA:
    SOLVERS["lanes"] = _by("lanes")
