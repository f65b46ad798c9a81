"""Layers and inputs for the benchmarks, made once for all operations of a setup."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benches.cells import Setup, Variant
from emcheck.contract import Event
from emcheck.oracle import Definition
from emcheck.specs.parameter_styles import move_parameters

#: The style of the parameters: a layer as it is after training.
STYLE = "trained"


@dataclass(frozen=True)
class Subject:
    """A layer with its definition, data ``x (B, C, H, W)`` and their latent ``z``."""

    layer: nn.Module
    definition: Definition
    x: Tensor
    z: Tensor

    def call(self, operation: str) -> Callable[[], Any]:
        """Return the operation as a function without arguments; the inverse starts from ``z``."""
        function = self.layer if operation == "forward" else getattr(self.layer, operation)
        value = self.z if operation == "inverse" else self.x
        return lambda: function(value)


class Workbench:
    """Builds subjects and keeps the last: cells that share one must come in a row.

    A layer is built and moved in float32 and then widened, so that one definition holds for both
    dtypes. Inputs are drawn in float64 and have all digits of their dtype.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._model: tuple[tuple[str, Event], nn.Module, Definition] | None = None
        self._subject: tuple[Setup, Subject] | None = None

    def subject(self, setup: Setup) -> Subject:
        """Return the layer, definition and input of a setup."""
        if self._subject is None or self._subject[0] != setup:
            self._subject = None  # release the last one before the next is built
            self._subject = setup, self._make(setup)
        return self._subject[1]

    def _make(self, setup: Setup) -> Subject:
        model, definition = self._modelled(setup.variant, setup.event)
        layer = copy.deepcopy(model).to(setup.device, setup.torch_dtype)
        generator = torch.Generator().manual_seed(self.seed + 1)
        x = torch.randn(setup.batch, *setup.event, generator=generator, dtype=torch.float64)
        x = x.to(setup.torch_dtype).to(setup.device)
        with torch.no_grad():
            z = layer(x)[0]
        return Subject(layer, definition, x, z)

    def _modelled(self, variant: Variant, event: Event) -> tuple[nn.Module, Definition]:
        """Return a float32 layer on the CPU and its definition."""
        key = (variant.name, event)
        if self._model is None or self._model[0] != key:
            generator = torch.Generator().manual_seed(self.seed)
            layer = variant.build(event, generator)
            move_parameters(layer, STYLE, generator)
            self._model = key, layer, variant.spec.define(layer, event)
        return self._model[1:]
