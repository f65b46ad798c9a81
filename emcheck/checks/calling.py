"""How a layer is called: whatever its make, ``(value, logdet (B,))`` comes out."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

Pair = tuple[Tensor, Tensor]


def call(layer: nn.Module, x: Tensor) -> Pair:
    """``layer(x)`` without gradients, the log-det as ``(B,)``.

    The layer gets a copy, in the same memory layout where that is dense: one that changes its
    input is named for it by one check and spoils no other.
    """
    with torch.no_grad():
        return forward_of(layer, x.clone())


def call_inverse(layer: nn.Module, z: Tensor) -> Pair:
    """``layer.inverse(z)`` without gradients, the log-det as ``(B,)``; NaN if there is none."""
    with torch.no_grad():
        return inverse_of(layer, z.clone())


def forward_of(layer: nn.Module, x: Tensor) -> Pair:
    """``layer(x)``, the log-det as ``(B,)``."""
    return _pair(layer(x), x, "forward", "z")


def inverse_of(layer: nn.Module, z: Tensor) -> Pair:
    """``layer.inverse(z)``, the log-det as ``(B,)``; NaN if there is none."""
    return _pair(layer.inverse(z), z, "inverse", "x")  # type: ignore[operator]


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
    """A log-det as ``(B,)``: numbers and 0-d tensors hold for every sample (a house rule).

    None, which stands for no log-det at all, becomes NaN.
    """
    B = len(given)
    if logdet is None:
        return given.new_full((B,), math.nan)
    if isinstance(logdet, int | float):
        return given.new_full((B,), float(logdet))
    if not isinstance(logdet, Tensor):
        got = type(logdet).__name__
        raise ValueError(f"{direction}: expected logdet (B,), got {got}")
    if logdet.dim() == 0:
        return logdet.expand(B)
    if logdet.numel() == B:
        return logdet.reshape(B)
    raise ValueError(f"{direction}: expected logdet ({B},), got shape {tuple(logdet.shape)}")
