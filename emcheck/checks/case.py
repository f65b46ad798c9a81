"""What is checked (a subject) and in which situation (a case)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from emcheck.layer import Event, InvertibleLayer
from emcheck.spec import LayerSpec, Trait, options_of, spec_of

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
        any_channels: whether ``build`` follows the channel count of the case.
        any_size: whether layers work at any H and W that ``multiple`` divides.
    """

    name: str
    build: Callable[[Case], nn.Module]
    spec: LayerSpec | None = None
    own: bool = False
    unwrap: Callable[[nn.Module], nn.Module] = lambda layer: layer
    any_channels: bool = True
    any_size: bool = True

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
        spec = spec_of(layer)
        options = options_of(layer)

        def build(case: Case) -> nn.Module:
            if spec is not None and dict(case.options) != options:
                return spec.build(case.event[0], **case.options, generator=case.generator(0))
            return copy.deepcopy(layer)

        simple = spec is not None and Trait.COMPOSED not in spec.traits and "of" not in spec.options
        return cls(
            name or type(layer).__name__,
            build,
            spec,
            own=type(layer).__module__.startswith("emcheck."),
            any_channels=False,
            any_size=simple,
        )

    def fewest_channels(self, case: Case) -> int:
        """The smallest channel count that the subject can be built with."""
        if not self.any_channels:
            return case.event[0]
        return self.spec.min_channels if self.spec else 1

    def clip(self, case: Case, channels: int, pixels: int) -> Case:
        """The same case with at most so many channels, rows and columns, where that can be."""
        C, *space = case.event
        multiple = self.multiple(case)
        most = max(multiple, pixels - pixels % multiple)
        H, W = (min(size, most) for size in space) if self.any_size else space
        return replace(case, event=(min(C, max(channels, self.fewest_channels(case))), H, W))

    def multiple(self, case: Case) -> int:
        """What H and W must be divisible by in this case."""
        return self.spec.multiple(case.options) if self.spec else 1
