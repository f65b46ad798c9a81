"""The settings of a process that user code can change: how to read and restore each of them."""

from __future__ import annotations

import contextlib
import locale
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from emcheck.guard.jax_flag import jax_flag, set_jax_flag


@dataclass(frozen=True)
class Setting:
    """A setting of the whole process or thread; equal values are the same.

    Args:
        name: as in "changed the default dtype".
        read: returns its present value.
        write: sets it to a value that was read.
        standard: gives the value to judge layers under, from the present one; None: the present.
        numerical: whether it may change what a layer computes; it is restored after every case.
        lasting: whether it stays changed until the target is done, since the target may need it.
        quiet: whether a change is not reported, since libraries make it when they are loaded.
    """

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], None]
    standard: Callable[[Any], Any] | None = None
    numerical: bool = False
    lasting: bool = False
    quiet: bool = False


def _autocast() -> tuple[Any, ...]:
    kinds = ("cpu", "cuda")
    enabled = [(kind, torch.is_autocast_enabled(kind)) for kind in kinds]
    return (*enabled, *((kind, torch.get_autocast_dtype(kind)) for kind in kinds))


def _set_autocast(value: tuple[Any, ...]) -> None:
    for kind, wanted in value:
        if isinstance(wanted, bool):
            torch.set_autocast_enabled(kind, wanted)
        else:
            torch.set_autocast_dtype(kind, wanted)


def _no_autocast(value: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple((kind, False if isinstance(v, bool) else v) for kind, v in value)


def _deterministic() -> tuple[bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


def _set_deterministic(value: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(value[0], warn_only=value[1])


#: Guards that are entered for good: one that is garbage-collected would restore the old mode.
_ENTERED: list[Any] = []


def _set_inference(mode: bool) -> None:
    _ENTERED.append(torch.inference_mode(mode))
    _ENTERED[-1].__enter__()


def _set_gradients(enabled: bool) -> None:
    torch.set_grad_enabled(enabled)


def _set_anomaly_detection(enabled: bool) -> None:
    torch.autograd.set_detect_anomaly(enabled)


def default_device() -> torch.device:
    """Return the device of new tensors, by context or by default."""
    return torch.empty(0).device


def _set_device(device: torch.device) -> None:
    torch.set_default_device(None)  # drops what a layer set, not its caller's context
    if default_device() != device:
        torch.set_default_device(device)


_SMALLEST = sys.float_info.min


def _flushes() -> bool:
    """Whether this thread flushes subnormal numbers to 0."""
    return _SMALLEST / 2.0 == 0.0


def _set_flushes(flush: bool) -> None:
    torch.set_flush_denormal(flush)


def _set_numpy_errors(value: dict[str, Any]) -> None:
    np.seterr(**value)


#: Signals that Python code handles; a time limit restores its own (SIGALRM) itself.
_SIGNALS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGPIPE", "SIGUSR1", "SIGUSR2", "SIGCHLD")
    if hasattr(signal, name)
]


def _signals() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in _SIGNALS if in_main_thread()}


def _set_signals(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        if handler is not None and signal.getsignal(number) is not handler:
            signal.signal(number, handler)


def in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _logging() -> tuple[Any, ...]:
    root = logging.getLogger()
    return root.level, tuple(root.handlers), root.disabled, logging.root.manager.disable


def _set_logging(value: tuple[Any, ...]) -> None:
    root = logging.getLogger()
    root.level, handlers, root.disabled, disabled = value
    root.handlers[:] = handlers
    logging.disable(disabled)  # also clears cached levels


def _directory() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return ""


def _set_directory(path: str) -> None:
    with contextlib.suppress(OSError):
        os.chdir(path)


def _set_environment(value: dict[str, str]) -> None:
    for name in os.environ.keys() - value.keys():
        del os.environ[name]
    os.environ.update(value)


def _streams() -> tuple[Any, ...]:
    return sys.stdin, sys.stdout, sys.stderr


def _set_streams(value: tuple[Any, ...]) -> None:
    sys.stdin, sys.stdout, sys.stderr = value


def _set_path(value: list[str]) -> None:
    sys.path[:] = value


def _locale() -> str:
    return locale.setlocale(locale.LC_ALL)


def _set_locale(value: str) -> None:
    locale.setlocale(locale.LC_ALL, value)


#: All settings, in the order in which they are restored.
SETTINGS: tuple[Setting, ...] = (
    Setting(
        "inference mode",
        torch.is_inference_mode_enabled,
        _set_inference,
        lambda now: False,
        numerical=True,
    ),
    Setting("gradients", torch.is_grad_enabled, _set_gradients, lambda now: True, numerical=True),
    Setting("autocast", _autocast, _set_autocast, _no_autocast, numerical=True),
    Setting(
        "the default dtype",
        torch.get_default_dtype,
        torch.set_default_dtype,
        lambda now: torch.float32,
        numerical=True,
    ),
    Setting("the default device", default_device, _set_device, numerical=True),
    Setting("the number of threads", torch.get_num_threads, torch.set_num_threads, numerical=True),
    Setting("deterministic algorithms", _deterministic, _set_deterministic, numerical=True),
    Setting(
        "the precision of float32 products",
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
        numerical=True,
    ),
    Setting("flushing to zero", _flushes, _set_flushes, lambda now: False, numerical=True),
    Setting(
        "anomaly detection",
        torch.is_anomaly_enabled,
        _set_anomaly_detection,
        lambda now: False,
        numerical=True,
    ),
    Setting("JAX's 64-bit numbers", jax_flag, set_jax_flag, numerical=True),
    Setting("NumPy's floating point errors", np.geterr, _set_numpy_errors),
    Setting("handlers of signals", _signals, _set_signals),
    Setting("the root logger", _logging, _set_logging),
    Setting("the standard streams", _streams, _set_streams),
    Setting("the locale", _locale, _set_locale),
    Setting("the limit of recursion", sys.getrecursionlimit, sys.setrecursionlimit),
    Setting(
        "the working directory",
        _directory,
        _set_directory,
        lambda now: now or os.path.abspath(os.sep),  # torch's own imports need an existing one
        lasting=True,
    ),
    Setting(
        "the environment", lambda: dict(os.environ), _set_environment, lasting=True, quiet=True
    ),
    Setting("the search path", lambda: list(sys.path), _set_path, lasting=True, quiet=True),
)
