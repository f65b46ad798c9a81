"""The autoregressive convolution: a masked convolution with a triangular Jacobian."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from emcheck.contract import (
    InvertibleLayer,
    validate_images,
    validate_kernel_size,
    validate_positive,
)
from emcheck.layers._tools import per_sample
from emcheck.solve import (
    Link,
    Mask,
    convolve_masked,
    diagonal,
    invert_masked,
    validate_mask,
)


class AutoregressiveConv2d(InvertibleLayer):
    """Masked convolution ``z[o,i,j] = sum w[o,c,a,b] x[c, i+(a-r)D, j+(b-r)D]``, zero padding.

    The live taps, those not masked, lie before the centre: in the upper-left quadrant
    (``mask="square"``) or in raster order (``mask="raster"``); the centre tap is
    lower-triangular over channels.
    ``reverse`` flips the mask on both space axes and both channel axes.

    Log-det: ``H W sum_c log|w[c,c,r,r]|``.

    Cost: forward ``B H W C^2`` times the live taps; inverse the same, by substitution in
    ``H + W - 1`` (square) or ``W + (r+1)(H-1)`` (raster) sequential steps; log-det ``C``.

    Reference: Hoogeboom, van den Berg, Welling, Emerging Convolutions for Generative
    Normalizing Flows, 2019, arXiv 1901.11137, section 3.1.

    Args:
        channels: ``C``, at least 1.
        kernel_size: odd ``k``, ``r = (k-1)/2``.
        mask: ``"square"`` or ``"raster"``.
        reverse: whether the Jacobian is triangular the other way round.
        dilation: ``D``, at least 1.
        generator: random numbers of the initial value (centre ``I + 0.02 N``, other taps
            ``0.02 N``); torch's default if None.

    Raises:
        ValueError: input that is not ``(B, C, H, W)`` in the dtype of the parameters; an even
            kernel; ``inverse`` with a zero on the diagonal, whose log-det is ``-inf``.

    >>> import torch
    >>> layer = AutoregressiveConv2d(2, generator=torch.Generator().manual_seed(0))
    >>> x = torch.ones(1, 2, 5, 4)
    >>> bool((layer.inverse(layer(x)[0])[0] - x).abs().max() < 1e-5)
    True
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int = 3,
        mask: Mask = "square",
        reverse: bool = False,
        dilation: int = 1,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.channels = validate_positive("channels", channels)
        self.kernel_size = validate_kernel_size(kernel_size)
        self.mask = validate_mask(mask)
        self.reverse = bool(reverse)
        self.dilation = validate_positive("dilation", dilation)
        weight = 0.02 * torch.randn(
            channels, channels, kernel_size, kernel_size, generator=generator
        )
        weight[:, :, kernel_size // 2, kernel_size // 2] += torch.eye(channels)
        self.weight = nn.Parameter(weight)  # (C, C, k, k), dead taps are not used

    def diagonal(self) -> Tensor:
        """``w[c,c,r,r]``, ``(C,)``."""
        return diagonal(self.weight)

    @property
    def link(self) -> Link:
        """This convolution as a link of a chain of masked convolutions."""
        return Link(self.mask, self.reverse, self.dilation)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        validate_images(x, self.channels, self.weight)
        z, logabsdet = convolve_masked(x, (self.weight,), (self.link,))
        return z, per_sample(x.shape[2] * x.shape[3] * logabsdet, x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        validate_images(z, self.channels, self.weight)
        x, logabsdet = invert_masked(z, (self.weight,), (self.link,))
        return x, per_sample(-z.shape[2] * z.shape[3] * logabsdet, z)

    def log_det(self, x: Tensor) -> Tensor:
        validate_images(x, self.channels, self.weight)
        return per_sample(x.shape[2] * x.shape[3] * self.diagonal().abs().log().sum(), x)
