"""The dense 1x1 convolution of Glow."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from emcheck.contract import InvertibleLayer, validate_images, validate_positive
from emcheck.layers._tools import (
    mix_channels,
    per_sample,
    pixels_back,
    pixels_last,
    random_orthogonal,
    solve,
    solve_by_lu,
)


class Conv1x1(InvertibleLayer):
    """1x1 convolution with a dense matrix: ``z[:, i, j] = W x[:, i, j]``.

    Log-det: ``H W log|det W|``.

    Cost: forward ``B H W C^2``; inverse the same plus ``2/3 C^3`` for the LU of ``W``;
    log-det ``2/3 C^3``.

    Reference: Kingma, Dhariwal, Glow: Generative Flow with Invertible 1x1 Convolutions,
    2018, arXiv 1807.03039.

    Args:
        channels: ``C``, at least 1.
        generator: random numbers of the orthogonal initial value; torch's default if None.

    Raises:
        ValueError: input that is not ``(B, C, H, W)`` in the dtype of the parameters.
            ``inverse`` raises it for an exactly singular ``W``, whose log-det is ``-inf``.

    >>> import torch
    >>> layer = Conv1x1(3, generator=torch.Generator().manual_seed(0))
    >>> z, logdet = layer(torch.ones(2, 3, 4, 4))
    >>> z.shape, logdet.shape
    (torch.Size([2, 3, 4, 4]), torch.Size([2]))
    """

    def __init__(self, channels: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.channels = validate_positive("channels", channels)
        self.weight = nn.Parameter(random_orthogonal(channels, generator))  # (C, C)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logdet = self.log_det(x)
        return mix_channels(self.weight, x), logdet

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        validate_images(z, self.channels, self.weight)
        found = solve_by_lu(self.weight, z)
        if found is not None:
            x, pivots = found
            return x, per_sample(-z.shape[2] * z.shape[3] * pivots.abs().log().sum(), z)
        logdet = -self.log_det(z)
        return pixels_back(solve(self.weight, pixels_last(z)), z), logdet

    def log_det(self, x: Tensor) -> Tensor:
        validate_images(x, self.channels, self.weight)
        logabsdet = torch.linalg.slogdet(self.weight).logabsdet
        return per_sample(x.shape[2] * x.shape[3] * logabsdet, x)
