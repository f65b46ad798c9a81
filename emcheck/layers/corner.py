"""Convolutions padded on one corner only, and four of them over groups of channels."""

from __future__ import annotations

from types import MappingProxyType
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emcheck.contract import InvertibleLayer, validate_images, validate_positive
from emcheck.layers._tools import per_sample
from emcheck.solve import Link, convolve_masked, invert_masked

Corner = Literal["top-left", "top-right", "bottom-left", "bottom-right"]

#: The corners in the order of the groups of channels, with the axes that turn each to the first.
CORNERS = MappingProxyType(
    {"top-left": (), "top-right": (3,), "bottom-left": (2,), "bottom-right": (2, 3)}
)

_LINK = Link("square", False, 1)


class CornerConv2d(InvertibleLayer):
    """Convolution padded on one corner: ``z[o,i,j] = sum w[o,c,a,b] x[c, i+a-k+1, j+b-k+1]``.

    This is the formula of ``corner="top-left"``: ``k - 1`` rows of zeros above, as many columns to
    the left, and ``z`` of the size of ``x``. For another corner the image is flipped, convolved and
    flipped back. The last tap ``w[:,:,k-1,k-1]`` multiplies the pixel itself and is
    lower-triangular over channels; the others are free.

    It is the square-masked convolution :class:`AutoregressiveConv2d` of size ``2k - 1`` with its
    live quadrant as the kernel, so ``k`` may be even and no tap that is computed is idle. The
    solver stores ``(2k-1)^2`` taps of which it reads ``k^2``.

    Log-det: ``H W sum_c log|w[c,c,k-1,k-1]|``.

    Cost: forward ``B H W C^2 k^2``; inverse the same, by substitution in ``H + W - 1`` sequential
    steps along anti-diagonals; log-det ``C``.

    Reference: Nagar, Dufraisse, Varma, CInC Flow: Characterizable Invertible 3x3 Convolution,
    2021, arXiv 2107.01358.

    Args:
        channels: ``C``, at least 1.
        kernel_size: ``k``, at least 1.
        corner: the corner that is padded, ``"top-left"``, ``"top-right"``, ``"bottom-left"`` or
            ``"bottom-right"``.
        generator: random numbers of the initial value (the pixel's tap ``I + 0.02 N``, other taps
            ``0.02 N``); torch's default if None.

    Raises:
        ValueError: input that is not ``(B, C, H, W)`` in the dtype of the parameters; an unknown
            corner; ``inverse`` with a zero on the diagonal, whose log-det is ``-inf``.

    >>> import torch
    >>> layer = CornerConv2d(2, generator=torch.Generator().manual_seed(0))
    >>> x = torch.ones(1, 2, 5, 4)
    >>> bool((layer.inverse(layer(x)[0])[0] - x).abs().max() < 1e-5)
    True
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int = 3,
        corner: Corner = "top-left",
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.channels = validate_positive("channels", channels)
        self.kernel_size = validate_positive("kernel_size", kernel_size)
        if corner not in CORNERS:
            raise ValueError(f"expected corner to be one of {get_args(Corner)}, got {corner!r}")
        self.corner = corner
        weight = 0.02 * torch.randn(
            channels, channels, kernel_size, kernel_size, generator=generator
        )
        weight[:, :, -1, -1] += torch.eye(channels)
        self.weight = nn.Parameter(weight)  # (C, C, k, k), above the triangle unused

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        validate_images(x, self.channels, self.weight)
        z, logabsdet = convolve_masked(self._turned(x), (self._embedded(),), (_LINK,))
        return self._turned(z), per_sample(x.shape[2] * x.shape[3] * logabsdet, x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        validate_images(z, self.channels, self.weight)
        x, logabsdet = invert_masked(self._turned(z), (self._embedded(),), (_LINK,))
        return self._turned(x), per_sample(-z.shape[2] * z.shape[3] * logabsdet, z)

    def log_det(self, x: Tensor) -> Tensor:
        validate_images(x, self.channels, self.weight)
        return per_sample(x.shape[2] * x.shape[3] * self.diagonal().abs().log().sum(), x)

    def diagonal(self) -> Tensor:
        """``w[c,c,k-1,k-1]``, ``(C,)``."""
        return self.weight[:, :, -1, -1].diagonal()

    def _embedded(self) -> Tensor:
        """The kernel as the live quadrant of a square-masked one, ``(C, C, 2k-1, 2k-1)``."""
        return F.pad(self.weight, (0, self.kernel_size - 1, 0, self.kernel_size - 1))

    def _turned(self, x: Tensor) -> Tensor:
        """Flip the image so that the padded corner is the first; twice is the identity."""
        axes = CORNERS[self.corner]
        return x.flip(axes) if axes else x


class FourCornerConv2d(InvertibleLayer):
    """Four one-corner convolutions side by side, each on a group of channels of its own.

    The channels are cut into four groups as even as possible, larger ones first; group ``g`` goes
    through a :class:`CornerConv2d` padded on the corner ``g`` in the order of ``CORNERS``: top
    left, top right, bottom left, bottom right. With fewer than four channels the last groups are
    empty and have no convolution. Groups do not mix, so a layer that mixes channels goes before.

    Log-det: ``H W`` times the sum of ``log|w_g[c,c,k-1,k-1]|`` over groups and channels.

    Cost: forward and inverse ``B H W C^2 k^2 / 4`` for ``C`` divisible by 4, the groups one after
    the other; log-det ``C``.

    Reference: Kallappa, Nagar, Varma, FInC Flow: Fast and Invertible k x k Convolutions for
    Normalizing Flows, 2023, arXiv 2301.09266.

    Args:
        channels: ``C``, at least 1.
        kernel_size: ``k``, at least 1.
        generator: random numbers of the initial values; torch's default if None.

    Raises:
        ValueError: input that is not ``(B, C, H, W)`` in the dtype of the parameters; ``inverse``
            with a zero on a diagonal, whose log-det is ``-inf``.

    >>> import torch
    >>> layer = FourCornerConv2d(6, generator=torch.Generator().manual_seed(0))
    >>> [part.channels for part in layer.parts]
    [2, 2, 1, 1]
    """

    def __init__(
        self, channels: int, kernel_size: int = 3, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.channels = validate_positive("channels", channels)
        self.kernel_size = validate_positive("kernel_size", kernel_size)
        self.parts = nn.ModuleList()
        for g, corner in enumerate(get_args(Corner)):
            size = channels // 4 + (g < channels % 4)
            if size:
                self.parts.append(CornerConv2d(size, kernel_size, corner, generator=generator))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logdet, groups = self.log_det(x), self.groups(x)
        return torch.cat([part(group)[0] for part, group in groups], dim=1), logdet

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        logdet, groups = -self.log_det(z), self.groups(z)
        return torch.cat([part.inverse(group)[0] for part, group in groups], dim=1), logdet

    def log_det(self, x: Tensor) -> Tensor:
        diagonals = torch.cat([part.diagonal() for part, _ in self.groups(x)])
        return per_sample(x.shape[2] * x.shape[3] * diagonals.abs().log().sum(), x)

    def groups(self, x: Tensor) -> list[tuple[CornerConv2d, Tensor]]:
        """Return each convolution with its group of channels of ``x``."""
        parts: list[CornerConv2d] = list(self.parts)  # type: ignore[arg-type]
        validate_images(x, self.channels, parts[0].weight)
        sizes = [part.channels for part in parts]
        return list(zip(parts, x.split(sizes, dim=1), strict=True))
