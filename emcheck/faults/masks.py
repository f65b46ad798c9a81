"""Faults of masked convolutions; most are alike in both directions, so round trips pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from emcheck.faults.core import Faulty, fault
from emcheck.layers import AutoregressiveConv2d, EmergingConv2d
from emcheck.solve import live_taps, live_weight, solve_masked


class _OwnMask(AutoregressiveConv2d):
    """An autoregressive convolution that multiplies its weight by the mask ``live``."""

    def __init__(self, channels: int, **options: Any) -> None:
        super().__init__(channels, **options)
        live = live_taps(channels, self.kernel_size, self.mask, self.reverse)
        self.live: Tensor
        self.register_buffer("live", self.edited(live).to(self.weight), persistent=False)

    def edited(self, live: Tensor) -> Tensor:
        """Return the mask to use, made from the right one, ``(C, C, k, k)``."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logdet, reach = self.log_det(x), self.kernel_size // 2 * self.dilation
        weight = self.weight * self.live
        return F.conv2d(x, weight, padding=reach, dilation=self.dilation), logdet

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x = solve_masked(
            self.weight * self.live,
            z,
            mask=self.mask,
            reverse=self.reverse,
            dilation=self.dilation,
        )
        return x, -self.log_det(z)


@fault(
    "forward_matches_definition",
    AutoregressiveConv2d,
    "Masks of autoregressive image models, where a channel may not see those before it.",
    case={"event": (3, 4, 5)},
    cause="mask_too_strict",
)
class MaskTooStrict(_OwnMask):
    """The centre tap is diagonal over channels instead of triangular, in both directions."""

    def edited(self, live: Tensor) -> Tensor:
        r = self.kernel_size // 2
        live[:, :, r, r] = torch.eye(self.channels, dtype=torch.bool)
        return live


@fault(
    "jacobian_is_triangular",
    AutoregressiveConv2d,
    "Masks over space alone: the centre tap was left dense, so channels see later ones.",
    case={"event": (3, 4, 5)},
    cause=("mask_too_loose", "taps_ignored_by_inverse"),
)
class CentreNotMasked(_OwnMask):
    """Forward's centre tap is dense over channels; the inverse uses its triangle only."""

    def edited(self, live: Tensor) -> Tensor:
        r = self.kernel_size // 2
        live[:, :, r, r] = True
        return live


@fault(
    "forward_matches_definition",
    AutoregressiveConv2d,
    "Soft masks, and masks multiplied twice; forward and inverse share them, so only the "
    "definition can tell.",
    options={"kernel_size": 3, "dilation": 1},
    cause="mask_scaled",
)
class MaskScaled(_OwnMask):
    """Off-centre taps are halved by the mask, in both directions alike."""

    def edited(self, live: Tensor) -> Tensor:
        scaled, r = live.float() / 2, self.kernel_size // 2
        scaled[:, :, r, r] *= 2
        return scaled


@fault(
    "jacobian_matches_definition",
    AutoregressiveConv2d,
    "The raster mask of autoregressive image models under a layer that promises a quadrant.",
    options={"kernel_size": 3, "mask": "square", "dilation": 1},
    case={"event": (2, 4, 5)},
    cause="mask_too_loose",
)
class MaskTooLoose(Faulty[AutoregressiveConv2d]):
    """All taps in raster order are live, in both directions, though the mask is square."""

    def _weight(self) -> Tensor:
        layer = self.layer
        live = live_taps(layer.channels, layer.kernel_size, "raster", layer.reverse)
        return layer.weight * live.to(layer.weight.device)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logdet = self.layer.log_det(x)
        return F.conv2d(x, self._weight(), padding=1), logdet

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        logdet = -self.layer.log_det(z)
        x = solve_masked(self._weight(), z, mask="raster", reverse=self.layer.reverse, dilation=1)
        return x, logdet


@fault(
    "reversed_is_flipped",
    AutoregressiveConv2d,
    "Up-side-down masks made by flipping the kernel in space; the pair then spans fewer "
    "kernels than the paper counts.",
    options={"reverse": True},
    case={"event": (3, 4, 5)},
    cause="channels_not_flipped",
)
class ChannelsNotFlipped(_OwnMask):
    """The reversed mask is flipped over space and not over channels, in both directions."""

    def edited(self, live: Tensor) -> Tensor:
        return live.flip(0, 1) if self.reverse else live

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        if not self.reverse:
            return super().inverse(z)
        logdet = -self.log_det(z)
        weight = (self.weight * self.live).flip(2, 3)
        x = solve_masked(
            weight, z.flip(2, 3), mask=self.mask, reverse=False, dilation=self.dilation
        )
        return x.flip(2, 3), logdet


@fault(
    "forward_matches_definition",
    EmergingConv2d,
    "The order of the pair is printed both ways; it decides which border is inexact.",
    options={"kernel_size": 3, "dilation": 1},
    cause="submodules_in_other_order",
)
class PairInOtherOrder(Faulty[EmergingConv2d]):
    """The square convolution comes first, the reversed one second, in both directions."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, first = self.layer.second(x)
        z, second = self.layer.first(y)
        return z + self.layer.bias[:, None, None], first + second

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        logdet = -self.layer.log_det(z)
        y, _ = self.layer.first.inverse(z - self.layer.bias[:, None, None])
        return self.layer.second.inverse(y)[0], logdet


@fault(
    "degenerate_sizes",
    AutoregressiveConv2d,
    "A shortcut for global-pooled features: on a single row or column only the centre tap was "
    "thought to matter.",
    options={"kernel_size": 3},
    cause="single_row",
)
class SingleRowShortcut(Faulty[AutoregressiveConv2d]):
    """Images of one row or one column go through the centre tap alone."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = self.layer(x)
        if 1 in x.shape[2:]:
            r = self.layer.kernel_size // 2
            live = live_weight(self.layer.weight, self.layer.link)
            z = F.conv2d(x, live[:, :, r : r + 1, r : r + 1])
        return z, logdet
