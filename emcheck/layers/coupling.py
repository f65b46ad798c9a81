"""The affine and additive coupling layers of Glow."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from emcheck.contract import InvertibleLayer, validate_images, validate_positive
from emcheck.layers._network import CouplingNetwork


class AffineCoupling2d(InvertibleLayer):
    """``z1 = x1``, ``z2 = (x2 + t) sigmoid(h + 2)`` with ``(t, h) = network(x1)``.

    ``x1`` is the first ``floor(C/2)`` channels. The network is 3x3, 1x1, 3x3 convolutions
    with ReLU, the last one zero at the start.

    Log-det: ``sum log sigmoid(h + 2)``.

    Cost: forward, inverse and log-det one pass of the network, ``B H W width (9 C/2 + width +
    9 C)``.

    Reference: Kingma, Dhariwal, Glow: Generative Flow with Invertible 1x1 Convolutions,
    2018, arXiv 1807.03039, section 3.3.

    Args:
        channels: ``C``, at least 2.
        width: hidden channels of the network.
        generator: random numbers of the initial value; torch's default if None.

    Raises:
        ValueError: fewer than 2 channels; input that is not ``(B, C, H, W)`` in the dtype of
            the parameters.

    >>> import torch
    >>> layer = AffineCoupling2d(2, width=4, generator=torch.Generator().manual_seed(0))
    >>> layer(torch.ones(1, 2, 1, 1))[0].flatten().detach()
    tensor([1.0000, 0.8808])
    """

    def __init__(
        self, channels: int, width: int = 64, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.channels = validate_positive("channels", channels, least=2)
        self.split = channels // 2
        out = 2 * (channels - self.split)
        self.network = CouplingNetwork(self.split, out, width, generator)

    def _shift_and_gate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        validate_images(x, self.channels, self.network.weights[0])
        t, h = self.network(x[:, : self.split]).chunk(2, dim=1)
        return t, h + 2

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        t, h = self._shift_and_gate(x)
        z2 = (x[:, self.split :] + t) * torch.sigmoid(h)
        return torch.cat([x[:, : self.split], z2], dim=1), _sum_event(F.logsigmoid(h))

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        t, h = self._shift_and_gate(z)
        x2 = z[:, self.split :] / torch.sigmoid(h) - t
        return torch.cat([z[:, : self.split], x2], dim=1), -_sum_event(F.logsigmoid(h))

    def log_det(self, x: Tensor) -> Tensor:
        return _sum_event(F.logsigmoid(self._shift_and_gate(x)[1]))


class AdditiveCoupling2d(InvertibleLayer):
    """``z1 = x1``, ``z2 = x2 + t`` with ``t = network(x1)``.

    Log-det: 0.

    Cost: forward and inverse one pass of the network, ``B H W width (9 C/2 + width + 9 C/2)``;
    log-det nothing.

    Reference: Dinh, Krueger, Bengio, NICE: Non-linear Independent Components Estimation,
    2014, arXiv 1410.8516.

    Args:
        channels: ``C``, at least 2.
        width: hidden channels of the network.
        generator: random numbers of the initial value; torch's default if None.

    Raises:
        ValueError: fewer than 2 channels; input that is not ``(B, C, H, W)`` in the dtype of
            the parameters.

    >>> import torch
    >>> layer = AdditiveCoupling2d(2, width=4, generator=torch.Generator().manual_seed(0))
    >>> layer(torch.ones(1, 2, 1, 1))[0].flatten().detach()
    tensor([1., 1.])
    """

    def __init__(
        self, channels: int, width: int = 64, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.channels = validate_positive("channels", channels, least=2)
        self.split = channels // 2
        self.network = CouplingNetwork(self.split, channels - self.split, width, generator)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logdet = self.log_det(x)
        x1, x2 = x[:, : self.split], x[:, self.split :]
        return torch.cat([x1, x2 + self.network(x1)], dim=1), logdet

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        logdet = -self.log_det(z)
        z1, z2 = z[:, : self.split], z[:, self.split :]
        return torch.cat([z1, z2 - self.network(z1)], dim=1), logdet

    def log_det(self, x: Tensor) -> Tensor:
        validate_images(x, self.channels, self.network.weights[0])
        return x.new_zeros(x.shape[0])


def _sum_event(x: Tensor) -> Tensor:
    return x.flatten(1).sum(dim=1)
