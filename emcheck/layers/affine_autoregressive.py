"""The affine autoregressive layer over rows or columns: the masked convolution of MaCow."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from emcheck.contract import InvertibleLayer, validate_images, validate_positive
from emcheck.layers._network import CouplingNetwork

Direction = Literal["top", "bottom", "left", "right"]

#: Whether rows and columns are exchanged, and then rows reversed, so that the first row is first.
_TURNS = MappingProxyType(
    {
        "top": (False, False),
        "bottom": (False, True),
        "left": (True, False),
        "right": (True, True),
    }
)


class AffineAutoregressive2d(InvertibleLayer):
    """``z_i = (x_i + t_i) 2 sigmoid(h_i)`` row by row, ``(t_i, h_i) = network(rows before i)``.

    The masked convolution of MaCow, which writes ``s_i x_i + b_i``: ``b = s t``. What is masked is
    the network's input, not the map of the layer, so it has the name of what it is: an affine
    autoregressive map, as :class:`AffineCoupling2d` is an affine coupling.

    The network sees the ``reach`` rows before the own one, ``breadth`` columns of each, zero beyond
    the image: a convolution, ReLU and a 1x1 convolution that is zero at the start. So the layer
    starts as the identity, bit for bit, and a scale lies between 0 and 2. ``direction`` says where
    the first row is; from the left and from the right, columns take the place of rows.

    Log-det: ``sum log(2 sigmoid(h))``.

    Cost: forward, inverse and log-det one pass of the network, ``B H W C width (reach breadth +
    2)``; the inverse in ``H`` (or ``W``) sequential steps, each for one row.

    Reference: Ma, Kong, Zhang, Hovy, MaCow: Masked Convolutional Generative Flow, 2019,
    arXiv 1902.04208.

    Args:
        channels: ``C``, at least 1.
        reach: rows before the own one that the network sees, at least 1.
        breadth: columns of each that it sees, odd.
        width: hidden channels of the network.
        direction: ``"top"``, ``"bottom"``, ``"left"`` or ``"right"``.
        generator: random numbers of the initial value; torch's default if None.

    Raises:
        ValueError: input that is not ``(B, C, H, W)`` in the dtype of the parameters; an even
            breadth; an unknown direction.

    >>> import torch
    >>> layer = AffineAutoregressive2d(2, width=4, generator=torch.Generator().manual_seed(0))
    >>> x = torch.ones(1, 2, 5, 4)
    >>> bool((layer(x)[0] == x).all()), layer(x)[1].item()
    (True, 0.0)
    """

    def __init__(
        self,
        channels: int,
        reach: int = 2,
        breadth: int = 5,
        width: int = 64,
        direction: Direction = "top",
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.channels = validate_positive("channels", channels)
        self.reach = validate_positive("reach", reach)
        self.breadth = validate_positive("breadth", breadth)
        if breadth % 2 == 0:
            raise ValueError(f"expected an odd breadth, got {breadth}")
        if direction not in _TURNS:
            wanted = get_args(Direction)
            raise ValueError(f"expected direction to be one of {wanted}, got {direction!r}")
        self.width = width
        self.direction = direction
        kernels = ((reach, breadth), (1, 1))
        self.network = CouplingNetwork(channels, 2 * channels, width, generator, kernels, False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        rows = self._turned(x)
        t, h = self._shift_and_gate(rows)
        return self._turned_back((rows + t) * scale(h)), sum_log_scale(h)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        rows = self._turned(z)
        solved = [torch.zeros_like(rows[:, :, :1])] * self.reach
        gates = []
        for i, row in enumerate(rows.split(1, dim=2)):
            t, h = self.network(torch.cat(solved[i:], dim=2)).chunk(2, dim=1)
            solved.append(row / scale(h) - t)
            gates.append(h)
        x = torch.cat(solved[self.reach :], dim=2)
        return self._turned_back(x), -sum_log_scale(torch.cat(gates, dim=2))

    def log_det(self, x: Tensor) -> Tensor:
        return sum_log_scale(self._shift_and_gate(self._turned(x))[1])

    def _shift_and_gate(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``(t, h)`` of every row of the turned image: the last row is seen by none."""
        before = F.pad(rows[:, :, :-1], (0, 0, self.reach, 0))
        t, h = self.network(before).chunk(2, dim=1)
        return t, h

    def _turned(self, x: Tensor) -> Tensor:
        """Validate and turn the image so that the autoregression runs from the first row on."""
        validate_images(x, self.channels, self.network.weights[0])
        exchanged, reversed_ = _TURNS[self.direction]
        x = x.mT if exchanged else x
        return x.flip(2) if reversed_ else x

    def _turned_back(self, rows: Tensor) -> Tensor:
        exchanged, reversed_ = _TURNS[self.direction]
        rows = rows.flip(2) if reversed_ else rows
        return rows.mT.contiguous() if exchanged else rows


def scale(h: Tensor) -> Tensor:
    """``2 sigmoid(h)``, which is 1 at ``h = 0`` exactly."""
    return 2 * torch.sigmoid(h)


def sum_log_scale(h: Tensor) -> Tensor:
    """``sum log(2 sigmoid(h))``, ``(B,)``; the two terms cancel at ``h = 0``."""
    return (F.logsigmoid(h) + math.log(2)).flatten(1).sum(dim=1)
