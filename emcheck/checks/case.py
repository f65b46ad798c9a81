"""What is checked (a subject) and in which situation (a case)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from emcheck.layer import Event, InvertibleLayer
from emcheck.spec import LayerSpec, spec_of

#: Magnitude of the input as a power of two, by name and dtype: far from overflow only by
#: what one layer can amplify, and below the smallest normal number.
SCALES = {
    "unit": {torch.float32: 0, torch.float64: 0},
    "huge": {torch.float32: 96, torch.float64: 960},
    "tiny": {torch.float32: -128, torch.float64: -1024},
}


@dataclass(frozen=True)
class Case:
    """One situation: the size of things by name, everything random from ``seed``.

    ``event`` is ``(C, H, W)``; ``style`` one of :data:`emcheck.styles.STYLES`; ``scale`` one of
    :data:`SCALES`; ``options`` the constructor's keywords.
    """

    event: Event
    batch: int = 2
    dtype: torch.dtype = torch.float64
    device: str = "cpu"
    style: str = "trained"
    scale: str = "unit"
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)

    def generator(self, purpose: int) -> torch.Generator:
        """An independent stream of random numbers for each purpose."""
        return torch.Generator().manual_seed((self.seed * 1_000_003 + purpose) % 2**63)

    @property
    def dtype_name(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    @property
    def magnitude(self) -> float:
        return float(2.0 ** SCALES[self.scale][self.dtype])

    def clipped(self, channels: int, pixels: int, multiple: int = 1) -> Case:
        """The same case with at most so many channels and rows and columns."""
        C, *space = self.event
        most = max(multiple, pixels - pixels % multiple)
        H, W = (min(size, most) for size in space)
        return replace(self, event=(min(C, channels), H, W))

    def __str__(self) -> str:
        options = "".join(f" {key}={value}" for key, value in self.options.items())
        scale = "" if self.scale == "unit" else f" {self.scale}"
        shape = (self.batch, *self.event)
        return f"{shape} {self.dtype_name} {self.style}{scale}{options} seed={self.seed}"


@dataclass(frozen=True)
class Subject:
    """A layer under test: how to get a fresh one, and what is known about it.

    Args:
        name: what results are filed under.
        build: a fresh layer for a case, in float32 and at initial values.
        spec: its spec, or None for a layer of unknown make.
        own: whether house rules are binding (this project's layers) or only noted.
        unwrap: from the layer under test to the module that the spec describes.
    """

    name: str
    build: Callable[[Case], nn.Module]
    spec: LayerSpec | None = None
    own: bool = False
    unwrap: Callable[[nn.Module], nn.Module] = lambda layer: layer

    @classmethod
    def of_class(cls, name: str, layer_class: type[InvertibleLayer]) -> Subject:
        """A registered layer, built for each case."""
        spec = layer_class.spec

        def build(case: Case) -> nn.Module:
            return spec.build(case.event[0], **case.options, generator=case.generator(0))

        return cls(name, build, spec, own=True)

    @classmethod
    def of_layer(cls, layer: nn.Module, name: str | None = None) -> Subject:
        """One given layer, deep-copied for each case and otherwise left alone."""
        own = type(layer).__module__.startswith("emcheck.")
        spec = spec_of(layer)
        return cls(name or type(layer).__name__, lambda case: copy.deepcopy(layer), spec, own)

    @property
    def minimum_channels(self) -> int:
        return self.spec.min_channels if self.spec else 1

    def multiple(self, case: Case) -> int:
        """What H and W must be divisible by in this case."""
        return self.spec.multiple(case.options) if self.spec else 1
