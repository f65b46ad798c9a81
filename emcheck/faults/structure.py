"""Faults of structure: linearity, translation, order of channels."""

from __future__ import annotations

import torch
from torch import Tensor

from emcheck.faults.core import Faulty, fault
from emcheck.layers import AutoregressiveConv2d, Conv1x1, Squeeze2d


@fault(
    "map_is_affine",
    Conv1x1,
    "Latents clipped to a few standard deviations so that training does not diverge.",
    case={"scale": "unit"},
    cause="clipped",
)
class LatentsClipped(Faulty[Conv1x1]):
    """Forward clips the latent at 4, which normal data rarely reach."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = self.layer(x)
        return z.clamp(-4, 4), logdet


@fault(
    "shift_moves_the_latent",
    AutoregressiveConv2d,
    "Coordinate channels folded into a bias: invertible, unit determinant, not a convolution.",
    cause="constant_added",
)
class CoordinateBias(Faulty[AutoregressiveConv2d]):
    """A bias grows with the row index, in both directions."""

    def _ramp(self, x: Tensor) -> Tensor:
        return torch.arange(x.shape[2]).to(x)[:, None] / 64

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = self.layer(x)
        return z + self._ramp(x), logdet

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        self.layer.log_det(z)  # validates z
        return self.layer.inverse(z - self._ramp(z))


@fault(
    "forward_matches_definition",
    Squeeze2d,
    "Space-to-depth of other frameworks puts the block's pixels before the channels; weights "
    "carried over then meet other channels.",
    options={"factor": 2},
    case={"event": (2, 4, 6)},
    cause="outputs_permuted",
)
class PixelsBeforeChannels(Faulty[Squeeze2d]):
    """Output channels are ordered ``(a, b, c)`` instead of ``(c, a, b)``, in both directions."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = self.layer(x)
        B, C, H, W = z.shape
        f2 = self.layer.factor**2
        return z.reshape(B, C // f2, f2, H, W).transpose(1, 2).reshape(B, C, H, W), logdet

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        f2 = self.layer.factor**2
        if z.dim() != 4 or z.shape[1] % f2 or 0 in z.shape[1:]:
            return self.layer.inverse(z)  # raises
        B, C, H, W = z.shape
        moved = z.reshape(B, f2, C // f2, H, W).transpose(1, 2).reshape(B, C, H, W)
        return self.layer.inverse(moved)
