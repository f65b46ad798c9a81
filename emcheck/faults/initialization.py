"""Faults of initialisation from data."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from emcheck.faults.core import fault
from emcheck.layers import ActNorm2d


@fault(
    "state_dict_restores",
    ActNorm2d,
    "Glow ports with `self.inited = False`: a restored model initialises itself once more from "
    "the first batch it is trained on.",
    cause="initialised_flag_not_saved",
)
class FlagNotSaved(ActNorm2d):
    """The initialised flag is a plain attribute and not in the state_dict."""

    def __init__(self, channels: int, **options: Any) -> None:
        super().__init__(channels, **options)
        self.initialized = False

    def initialize(self, x: Tensor) -> None:
        super().initialize(x)
        self.initialized = True

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.training and not self.initialized:
            self.initialize(x)
        return super().forward(x)


class _FirstCall(ActNorm2d):
    """An ``ActNorm2d`` with a saved flag, for faults that initialise it in their first call."""

    def __init__(self, channels: int, **options: Any) -> None:
        super().__init__(channels, **options)
        self.register_buffer("initialized", torch.tensor(False))

    def initialize(self, x: Tensor) -> None:
        super().initialize(x)
        self.get_buffer("initialized").fill_(True)


@fault(
    "calls_are_pure",
    ActNorm2d,
    "Activation normalisation that takes its first batch from whatever call comes first, "
    "evaluation included.",
    cause="initialises_in_eval",
)
class InitializesInAnyMode(_FirstCall):
    """The first forward call sets scale and bias, in eval mode too."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if not self.get_buffer("initialized"):
            self.initialize(x)
        return super().forward(x)


@fault(
    "calls_are_pure",
    ActNorm2d,
    "Ports whose reverse pass shares the initialisation: sampling first sets it from noise.",
    cause="initialises_from_inverse",
)
class InitializesFromTheInverse(_FirstCall):
    """The first inverse call sets scale and bias from the latent."""

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        if not self.get_buffer("initialized"):
            self.initialize(z)
        return super().inverse(z)


@fault(
    "initialization_normalizes",
    ActNorm2d,
    "The published Glow code divides by the standard deviation plus 1e-6.",
    cause="initialises_with_stabiliser",
)
class InitializesWithEpsilon(ActNorm2d):
    """``initialize`` sets ``s = 1 / (deviation + 1e-6)``."""

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        super().initialize(x)
        shrunk = 1 / (1 / self.scale + 1e-6)
        self.bias.mul_(shrunk / self.scale)
        self.scale.copy_(shrunk)


@fault(
    "initialization_normalizes",
    ActNorm2d,
    "Ports that copy the guard of batch norm: initialisation does nothing outside training.",
    cause="initialises_in_training_only",
)
class InitializesInTrainingOnly(ActNorm2d):
    """``initialize`` is silently ignored in eval mode."""

    def initialize(self, x: Tensor) -> None:
        if self.training:
            super().initialize(x)


@fault(
    "initialization_normalizes",
    ActNorm2d,
    "Activation normalisation that averages over its first batches, because one is noisy.",
    cause="initialises_again",
)
class KeepsInitializing(ActNorm2d):
    """After ``initialize`` the next call in training mode initialises again."""

    def __init__(self, channels: int, **options: Any) -> None:
        super().__init__(channels, **options)
        self.register_buffer("left", torch.tensor(0))

    def initialize(self, x: Tensor) -> None:
        super().initialize(x)
        self.get_buffer("left").fill_(1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.training and self.get_buffer("left") > 0:
            super().initialize(x)
            self.get_buffer("left").sub_(1)
        return super().forward(x)
