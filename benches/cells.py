"""The cells of the benchmark: registry x operation x size x batch x dtype x device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import nn

from emcheck.contract import Event, InvertibleLayer
from emcheck.specs import REGISTRY, spec_for
from emcheck.specs.core import LayerSpec

OPERATIONS = ("forward", "inverse", "log_det")

#: Channels and side of a Glow pyramid: each squeeze halves the side and, with the split,
#: doubles the channels.
PYRAMID = ((384, 4), (192, 8), (96, 16), (48, 32), (24, 64), (12, 128))

#: Channels of the sweep over sizes only.
FIXED_CHANNELS = 12

SWEEPS = {
    "fixed": tuple((FIXED_CHANNELS, side) for _, side in PYRAMID),
    "pyramid": PYRAMID,
}
BATCHES = (1, 32)
DTYPES = ("float32", "float64")

Registry = Mapping[str, type[InvertibleLayer]]


@dataclass(frozen=True)
class Variant:
    """A registered layer with one choice of options; ``name`` is unique among variants."""

    name: str
    spec: LayerSpec
    options: tuple[tuple[str, Any], ...]  # those that differ from the constructor's defaults
    default: bool

    def build(self, event: Event, generator: torch.Generator) -> nn.Module:
        """Return a new layer on the CPU in float32."""
        return self.spec.new(event, dict(self.options), generator)

    def event(self, channels: int, side: int) -> Event:
        """Return the smallest square event, not below the given one, that the layer accepts."""
        multiple = self.spec.multiple(dict(self.options))
        side = -(-side // multiple) * multiple
        return max(channels, self.spec.min_channels), side, side


def variants(registry: Registry = REGISTRY) -> list[Variant]:
    """Return every layer with default options, then with each option that is a word changed.

    Options that are words (``mask``, ``reverse``, ``of``) select another map, one by one, beginning
    with the second value of each; numbers (kernel size, dilation, width) only scale it.
    """
    found = []
    for name, cls in registry.items():
        found.append(Variant(name, spec_for(cls), (), True))
        for key, values in spec_for(cls).options.items():
            for value in values[1:]:
                if isinstance(value, str | bool):
                    changed = ((key, value),)
                    found.append(Variant(f"{name}({key}={value})", spec_for(cls), changed, False))
    return found


@dataclass(frozen=True)
class Setup:
    """A layer with an input, which the three operations of a cell share."""

    variant: Variant
    sweep: str
    event: Event
    batch: int
    dtype: str
    device: str

    @property
    def torch_dtype(self) -> torch.dtype:
        dtype = getattr(torch, self.dtype)
        assert isinstance(dtype, torch.dtype)
        return dtype

    @property
    def bytes_needed(self) -> int:
        """A generous estimate: two dozen copies of the input, four C x C matrices a pixel."""
        C, H, W = self.event
        return self.torch_dtype.itemsize * H * W * (24 * self.batch * C + 8 * C * C)


@dataclass(frozen=True)
class Cell:
    """One benchmark: a setup and the operation that is timed."""

    setup: Setup
    operation: str

    @property
    def id(self) -> str:
        setup = self.setup
        size = "x".join(map(str, setup.event))
        where = f"{setup.sweep}-{size}-b{setup.batch}-{setup.dtype}-{setup.device}"
        return f"{setup.variant.name}-{self.operation}-{where}"


def all_cells(devices: Sequence[str], registry: Registry = REGISTRY) -> Iterator[Cell]:
    """Yield every cell; those that share a layer, then a setup, come together."""
    shapes = [(sweep, *shape) for sweep, listed in SWEEPS.items() for shape in listed]
    for variant, (sweep, channels, side) in product(variants(registry), shapes):
        event = variant.event(channels, side)
        for device, dtype, batch in product(devices, DTYPES, BATCHES):
            setup = Setup(variant, sweep, event, batch, dtype, device)
            yield from (Cell(setup, operation) for operation in OPERATIONS)
