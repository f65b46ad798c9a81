"""Calls a layer of any convention and returns ``(value, logdet (B,))``."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

Pair = tuple[Tensor, Tensor]

#: The functions below that run a layer, and the direction that they run.
DIRECTIONS = {"forward_of": "forward", "inverse_of": "inverse"}


def call(layer: nn.Module, x: Tensor) -> Pair:
    """Return ``layer(x)`` without gradients, the log-det as ``(B,)``.

    The layer gets a copy, in the same memory layout if that is dense, so that a layer that changes
    its input fails one check for it and spoils no other.
    """
    with torch.no_grad():
        return forward_of(layer, x.clone())


def call_inverse(layer: nn.Module, z: Tensor) -> Pair:
    """``layer.inverse(z)`` without gradients, the log-det as ``(B,)``; NaN if there is none."""
    with torch.no_grad():
        return inverse_of(layer, z.clone())


def forward_of(layer: nn.Module, x: Tensor) -> Pair:
    """Return ``layer(x)``, the log-det as ``(B,)``."""
    return _pair(layer(x), x, "forward", "z")


def inverse_of(layer: nn.Module, z: Tensor) -> Pair:
    """Return ``layer.inverse(z)``, the log-det as ``(B,)``; NaN if there is none."""
    return _pair(with_logdet(layer.inverse(z)), z, "inverse", "x")  # type: ignore[operator]


def with_logdet(answer: Any) -> Any:
    """Return the answer of an inverse as a pair; a tensor alone has the log-det None."""
    return (answer, None) if isinstance(answer, Tensor) else answer


def _pair(answer: Any, given: Tensor, direction: str, name: str) -> Pair:
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        got = type(answer).__name__
        if isinstance(answer, tuple | list):
            got += f" of {len(answer)}"
        raise ValueError(f"{direction}: expected ({name}, logdet), got {got}")
    value, logdet = answer
    if not isinstance(value, Tensor):
        raise ValueError(f"{direction}: expected a tensor {name}, got {type(value).__name__}")
    return value, per_sample(logdet, given, direction)


def per_sample(logdet: Any, given: Tensor, direction: str) -> Tensor:
    """Return a log-det as ``(B,)``: numbers, 0-d tensors and ``(1,)`` hold for every sample.

    None, which means no log-det at all, becomes NaN. A log-det of any other shape is summed to one
    number for each sample, or is 0 if it has no axis of samples, so that values can be judged;
    ``shapes_and_dtypes`` reports the wrong shape, see :func:`is_per_sample`.
    """
    B = len(given)
    if logdet is None:
        return given.new_full((B,), math.nan)
    if isinstance(logdet, int | float):
        return given.new_full((B,), float(logdet))
    if not isinstance(logdet, Tensor):
        got = type(logdet).__name__
        raise ValueError(f"{direction}: expected logdet (B,), got {got}")
    if logdet.dim() == 0 or (B and tuple(logdet.shape) == (1,)):
        return logdet.reshape(()).expand(B)
    if len(logdet) == B:
        return logdet if logdet.dim() == 1 else logdet.flatten(1).sum(1)
    return logdet.new_zeros(B) if B else logdet


def is_per_sample(logdet: Any, batch: int) -> bool:
    """Whether a log-det is one number for each sample, or one for all of them, in any form."""
    if logdet is None or isinstance(logdet, int | float):
        return True
    allowed = ((), (1,), (batch,), (batch, 1))
    return isinstance(logdet, Tensor) and tuple(logdet.shape) in allowed
