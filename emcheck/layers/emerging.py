"""The emerging convolution of the paper: a reversed, then an ordinary square convolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from emcheck.contract import InvertibleLayer, validate_images
from emcheck.layers._tools import per_sample
from emcheck.layers.autoregressive import AutoregressiveConv2d
from emcheck.solve import convolve_masked, invert_masked


class EmergingConv2d(InvertibleLayer):
    """Two square-masked convolutions ``z = w2 * (w1 * x) + b``; ``w1`` is reversed and first.

    Together they have exactly the receptive field of one ``k x k`` convolution and equal
    one except on the first ``r D`` rows and columns, with ``r = (k-1)/2``.

    Log-det: the sum of both, ``H W sum_c (log|w1[c,c,r,r]| + log|w2[c,c,r,r]|)``.

    Cost: forward and inverse ``2 B H W C^2 (r+1)^2``; log-det ``C``.

    Reference: Hoogeboom, van den Berg, Welling, Emerging Convolutions for Generative
    Normalizing Flows, 2019, arXiv 1901.11137, section 3.2.

    Args:
        channels: ``C``, at least 1.
        kernel_size: odd ``k``.
        dilation: ``D``, at least 1.
        generator: random numbers of the initial values; torch's default if None.

    Raises:
        ValueError: input that is not ``(B, C, H, W)`` in the dtype of the parameters; an even
            kernel; ``inverse`` with a zero on a diagonal, whose log-det is ``-inf``.

    >>> import torch
    >>> layer = EmergingConv2d(2, generator=torch.Generator().manual_seed(0))
    >>> x = torch.ones(1, 2, 5, 4)
    >>> bool((layer.inverse(layer(x)[0])[0] - x).abs().max() < 1e-5)
    True
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int = 3,
        dilation: int = 1,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.first = AutoregressiveConv2d(
            channels, kernel_size, "square", True, dilation, generator=generator
        )
        self.second = AutoregressiveConv2d(
            channels, kernel_size, "square", False, dilation, generator=generator
        )
        self.bias = nn.Parameter(torch.zeros(channels))  # (C,)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        validate_images(x, self.second.channels, self.bias)
        first, second = self.first, self.second
        weights, links = (first.weight, second.weight), (first.link, second.link)
        z, logabsdet = convolve_masked(x, weights, links, self.bias)
        return z, per_sample(x.shape[2] * x.shape[3] * logabsdet, x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        validate_images(z, self.second.channels, self.bias)
        first, second = self.first, self.second
        weights, links = (first.weight, second.weight), (first.link, second.link)
        x, logabsdet = invert_masked(z, weights, links, self.bias)
        return x, per_sample(-z.shape[2] * z.shape[3] * logabsdet, z)

    def log_det(self, x: Tensor) -> Tensor:
        validate_images(x, self.second.channels, self.bias)
        diagonals = torch.cat([self.first.diagonal(), self.second.diagonal()])
        return per_sample(x.shape[2] * x.shape[3] * diagonals.abs().log().sum(), x)
