"""Activation normalisation of Glow."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from emcheck.contract import InvertibleLayer, refuse_zero, validate_images, validate_positive
from emcheck.layers._tools import per_sample


class ActNorm2d(InvertibleLayer):
    """Per-channel scale and bias: ``z[c] = s_c x[c] + b_c``.

    It is the identity until :meth:`initialize` sets it from data; no other call does so.

    Log-det: ``H W sum_c log|s_c|``.

    Cost: forward and inverse ``B C H W``; log-det ``C``.

    Reference: Kingma, Dhariwal, Glow: Generative Flow with Invertible 1x1 Convolutions,
    2018, arXiv 1807.03039, section 3.1.

    Args:
        channels: ``C``, at least 1.
        generator: not used; every layer takes it.

    Raises:
        ValueError: input that is not ``(B, C, H, W)`` in the dtype of the parameters;
            ``inverse`` with a zero scale, whose log-det is ``-inf``.

    >>> import torch
    >>> layer = ActNorm2d(1)
    >>> layer.initialize(torch.tensor([0.0, 2.0]).reshape(1, 1, 1, 2))
    >>> layer(torch.tensor([0.0, 2.0]).reshape(1, 1, 1, 2))[0].flatten().detach()
    tensor([-1.,  1.])
    """

    def __init__(self, channels: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.channels = validate_positive("channels", channels)
        self.scale = nn.Parameter(torch.ones(channels))  # (C,)
        self.bias = nn.Parameter(torch.zeros(channels))  # (C,)

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Set scale and bias so that ``forward(x)`` has mean 0 and variance 1 per channel.

        Raises:
            ValueError: an empty batch, or a channel that is constant or not finite.
        """
        validate_images(x, self.channels, self.scale)
        if x.shape[0] == 0:
            raise ValueError("expected at least one sample to initialise from, got batch size 0")
        wide = x.double().transpose(0, 1).flatten(1)  # (C, B*H*W)
        mean, deviation = wide.mean(dim=1), wide.std(dim=1, correction=0)
        if not bool(((deviation > 0) & deviation.isfinite()).all()):
            raise ValueError(
                f"expected finite channels that vary, got standard deviations {deviation.tolist()}"
            )
        self.scale.copy_(1 / deviation)
        self.bias.copy_(-mean / deviation)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logdet = self.log_det(x)
        return x * self.scale[:, None, None] + self.bias[:, None, None], logdet

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        logdet = -self.log_det(z)
        refuse_zero(self.scale, "scale")
        return (z - self.bias[:, None, None]) / self.scale[:, None, None], logdet

    def log_det(self, x: Tensor) -> Tensor:
        validate_images(x, self.channels, self.scale)
        return per_sample(x.shape[2] * x.shape[3] * self.scale.abs().log().sum(), x)
