"""The split prior of multi-scale flows as a layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emcheck.contract import InvertibleLayer, validate_images, validate_positive


class SplitPrior2d(InvertibleLayer):
    """``z1 = x1``, ``z2 = (x2 + t) exp(h)`` with ``(t, h)`` a 3x3 convolution of ``x1``.

    ``x2``, the last ``C - floor(C/2)`` channels, leaves the flow as a Gaussian with mean ``-t``
    and standard deviation ``exp(-h)`` given ``x1``. Once standardised it is a latent like any
    other, and its log-density is that of a standard normal plus this layer's log-det. The layer
    starts as the identity.

    Log-det: ``sum h``.

    Cost: forward, inverse and log-det one convolution, ``9 B H W floor(C/2) 2 ceil(C/2)``.

    Reference: Kingma, Dhariwal, Glow: Generative Flow with Invertible 1x1 Convolutions,
    2018, arXiv 1807.03039, section 3.4; Dinh, Sohl-Dickstein, Bengio, Density estimation using
    Real NVP, 2016, arXiv 1605.08803, section 3.6.

    Args:
        channels: ``C``, at least 2.
        generator: not used; every layer takes it.

    Raises:
        ValueError: fewer than 2 channels; input that is not ``(B, C, H, W)`` in the dtype of
            the parameters.

    >>> import torch
    >>> layer = SplitPrior2d(2)
    >>> _ = layer.bias.data[1].fill_(0.5)
    >>> layer(torch.ones(1, 2, 1, 1))[1].detach()
    tensor([0.5000])
    """

    def __init__(self, channels: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.channels = validate_positive("channels", channels, least=2)
        self.split = channels // 2
        out = 2 * (channels - self.split)
        self.weight = nn.Parameter(torch.zeros(out, self.split, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out))

    def _shift_and_log_scale(self, x: Tensor) -> tuple[Tensor, Tensor]:
        validate_images(x, self.channels, self.weight)
        t, h = F.conv2d(x[:, : self.split], self.weight, self.bias, padding=1).chunk(2, dim=1)
        return t, h

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        t, h = self._shift_and_log_scale(x)
        z2 = (x[:, self.split :] + t) * h.exp()
        return torch.cat([x[:, : self.split], z2], dim=1), h.flatten(1).sum(dim=1)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        t, h = self._shift_and_log_scale(z)
        x2 = z[:, self.split :] / h.exp() - t
        return torch.cat([z[:, : self.split], x2], dim=1), -h.flatten(1).sum(dim=1)

    def log_det(self, x: Tensor) -> Tensor:
        return self._shift_and_log_scale(x)[1].flatten(1).sum(dim=1)
