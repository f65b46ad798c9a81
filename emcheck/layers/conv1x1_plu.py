"""The 1x1 convolution of Glow in its PLU parametrisation."""

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
    solve_pixels,
    triangular_solve,
)


class Conv1x1PLU(InvertibleLayer):
    """1x1 convolution with ``W = P L (U + diag(s))``.

    ``L`` is unit lower and ``U`` strictly upper triangular. The permutation ``P`` and the
    signs of ``s`` are frozen (buffers); ``L``, ``U`` and ``log|s|`` are learnt.

    Log-det: ``H W sum_c log|s_c|``.

    Cost: forward ``B H W C^2`` plus ``C^3`` to form ``W``; inverse ``B H W C^2`` by
    substitution; log-det ``C``.

    Reference: Kingma, Dhariwal, Glow: Generative Flow with Invertible 1x1 Convolutions,
    2018, arXiv 1807.03039, section 3.2.

    Args:
        channels: ``C``, at least 1.
        generator: random numbers of the initial value, the PLU factors of a random
            orthogonal matrix; torch's default if None.

    Raises:
        ValueError: input that is not ``(B, C, H, W)`` in the dtype of the parameters.

    >>> import torch
    >>> layer = Conv1x1PLU(3, generator=torch.Generator().manual_seed(0))
    >>> x = torch.ones(2, 3, 4, 4)
    >>> bool((layer.inverse(layer(x)[0])[0] - x).abs().max() < 1e-5)
    True
    """

    def __init__(self, channels: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.channels = validate_positive("channels", channels)
        P, L, U = torch.linalg.lu(random_orthogonal(channels, generator))
        s = torch.diagonal(U)
        self.permutation: Tensor
        self.sign: Tensor
        self.register_buffer("permutation", P.argmax(dim=1))  # (P y)[i] = y[permutation[i]]
        self.register_buffer("sign", torch.sign(s))
        self.lower = nn.Parameter(L.tril(-1))  # (C, C), strictly lower part used
        self.upper = nn.Parameter(U.triu(1))  # (C, C), strictly upper part used
        self.log_scale = nn.Parameter(s.abs().log())  # (C,)

    def _factors(self) -> tuple[Tensor, Tensor]:
        """``L`` with its unit diagonal and ``U + diag(s)``."""
        L = self.lower.tril(-1) + torch.eye(self.channels).to(self.lower)
        U = self.upper.triu(1) + torch.diag(self.sign * self.log_scale.exp())
        return L, U

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logdet = self.log_det(x)
        L, U = self._factors()
        return mix_channels((L @ U)[self.permutation], x), logdet

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        logdet = -self.log_det(z)
        L, U = self._factors()
        order = self.permutation.argsort()
        x = solve_pixels(L.tril(-1) + U, order.tolist(), z)
        if x is not None:
            return x, logdet
        y = pixels_last(z)[order]
        y = triangular_solve(L, y, upper=False)
        return pixels_back(triangular_solve(U, y, upper=True), z), logdet

    def log_det(self, x: Tensor) -> Tensor:
        validate_images(x, self.channels, self.log_scale)
        return per_sample(x.shape[2] * x.shape[3] * self.log_scale.sum(), x)
