"""A fixed permutation of the channels."""

from __future__ import annotations

import torch
from torch import Tensor

from emcheck.contract import InvertibleLayer, validate_images, validate_positive


class PermuteChannels(InvertibleLayer):
    """``z[c] = x[p(c)]``: channels reversed, or shuffled once by a seed.

    Log-det: 0.

    Cost: one copy.

    Reference: Kingma, Dhariwal, Glow: Generative Flow with Invertible 1x1 Convolutions,
    2018, arXiv 1807.03039, section 3.2 (the baselines "reverse" and "shuffle").

    Args:
        channels: ``C``, at least 1.
        seed: None reverses, a whole number shuffles.
        generator: not used; ``seed`` decides.

    Raises:
        ValueError: input that is not ``(B, C, H, W)``.

    >>> import torch
    >>> PermuteChannels(3)(torch.arange(3.0).reshape(1, 3, 1, 1))[0].flatten()
    tensor([2., 1., 0.])
    """

    def __init__(
        self, channels: int, seed: int | None = None, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.channels = validate_positive("channels", channels)
        if seed is None:
            index = torch.arange(channels).flip(0)
        else:
            index = torch.randperm(channels, generator=torch.Generator().manual_seed(seed))
        self.index: Tensor
        self.register_buffer("index", index)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logdet = self.log_det(x)
        return x[:, self.index], logdet

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        logdet = self.log_det(z)
        return z[:, self.index.argsort()], logdet

    def log_det(self, x: Tensor) -> Tensor:
        validate_images(x, self.channels)
        return x.new_zeros(x.shape[0])
