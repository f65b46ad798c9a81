"""One call for every piece of code that is compiled by itself, once for each dtype."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from emcheck.contract import InvertibleLayer
from emcheck.layers.autoregressive import AutoregressiveConv2d
from emcheck.layers.conv1x1 import Conv1x1
from emcheck.layers.conv1x1_qr import Conv1x1QR
from emcheck.layers.emerging import EmergingConv2d
from emcheck.layers.periodic import PeriodicConv2d


@dataclass(frozen=True)
class CompiledKind:
    """Code that is compiled by itself, and a call of a layer that needs it.

    Args:
        name: what the code does.
        shape: ``(B, C, H, W)`` of a call that runs it.
        call: runs it; the first call compiles it.
    """

    name: str
    shape: tuple[int, int, int, int]
    call: Callable[[], object]


def compiled_kinds(dtype: torch.dtype) -> Iterator[CompiledKind]:
    """Yield a call for every kind of compiled code; each is made when its turn comes."""
    small, large, single = (32, 12, 16, 16), (32, 12, 80, 80), (1, 12, 64, 64)
    kinds: list[tuple[str, type[InvertibleLayer], tuple[int, int, int, int], str]] = [
        ("masked inverse, one call for a chain", EmergingConv2d, small, "inverse"),
        ("masked inverse, lanes of samples", AutoregressiveConv2d, large, "inverse"),
        ("masked inverse, lanes of rows", AutoregressiveConv2d, single, "inverse"),
        ("masked forward, one call for a chain", EmergingConv2d, small, "forward"),
        ("gradients of a chain forward", EmergingConv2d, small, "gradients"),
        ("gradients of a chain inverse", EmergingConv2d, small, "inverse gradients"),
        ("periodic inverse", PeriodicConv2d, small, "inverse"),
        ("1x1 inverse", Conv1x1, small, "inverse"),
        ("1x1 QR forward", Conv1x1QR, small, "forward"),
    ]
    for name, kind, shape, what in kinds:
        yield CompiledKind(name, shape, _call(kind, shape, what, dtype))


def _call(kind: Any, shape: tuple[int, ...], what: str, dtype: torch.dtype) -> Callable[[], object]:
    layer = kind(shape[1], generator=torch.Generator().manual_seed(0)).to(dtype)
    x = torch.ones(shape, dtype=dtype)
    direction = layer.inverse if what.startswith("inverse") else layer.forward

    def call() -> object:
        wanted = what.endswith("gradients")
        with torch.set_grad_enabled(wanted):
            value = direction(x)[0]
            return torch.autograd.grad(value.sum(), list(layer.parameters())) if wanted else value

    return call
