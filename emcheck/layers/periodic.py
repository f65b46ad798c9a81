"""The periodic convolution of the paper, inverted in the frequency domain."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emcheck.contract import (
    InvertibleLayer,
    validate_images,
    validate_kernel_size,
    validate_positive,
)
from emcheck.layers._fourier import SMALL, from_frequencies, kernel_spectrum, to_frequencies
from emcheck.layers._tools import (
    per_sample,
    random_orthogonal,
)
from emcheck.solve.frequencies import slogdet_frequencies, solve_frequencies


class PeriodicConv2d(InvertibleLayer):
    """Convolution with circular padding: ``z^_uv = W^_uv x^_uv`` for every frequency.

    ``W^_uv = sum_a w_a exp(+2 pi i (u a_y / H + v a_x / W))`` with offsets ``a`` measured from
    the centre tap. The frequencies cover the whole feature map; a kernel larger than the
    image wraps.

    Log-det: ``sum_uv log|det W^_uv|`` over all ``H W`` frequencies. The half spectrum of real
    input counts its inner columns twice.

    Cost: forward ``B H W C^2 k^2`` in space or, for a large kernel, ``B C H W log HW`` for the
    transforms plus ``2 B H W C^2``; the inverse always the latter. All three add ``H W C^3 / 3``
    complex operations for the factorisations that give the log-det.

    Reference: Hoogeboom, van den Berg, Welling, Emerging Convolutions for Generative
    Normalizing Flows, 2019, arXiv 1901.11137, section 3.2 (periodic convolutions).

    Args:
        channels: ``C``, at least 1.
        kernel_size: odd ``k``.
        generator: random numbers of the initial value (centre random orthogonal, plus
            ``0.02 N`` everywhere); torch's default if None.

    Raises:
        ValueError: input that is not ``(B, C, H, W)`` in the dtype of the parameters; an even
            kernel; ``inverse`` with an exactly singular frequency, whose log-det is ``-inf``.

    >>> import torch
    >>> layer = PeriodicConv2d(2, generator=torch.Generator().manual_seed(0))
    >>> x = torch.ones(1, 2, 5, 4)
    >>> bool((layer.inverse(layer(x)[0])[0] - x).abs().max() < 1e-5)
    True
    """

    def __init__(
        self, channels: int, kernel_size: int = 3, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.channels = validate_positive("channels", channels)
        self.kernel_size = validate_kernel_size(kernel_size)
        r = kernel_size // 2
        weight = 0.02 * torch.randn(
            channels, channels, kernel_size, kernel_size, generator=generator
        )
        weight[:, :, r, r] += random_orthogonal(channels, generator)
        self.weight = nn.Parameter(weight)  # (C, C, k, k)

    def _spectrum(self, H: int, W: int) -> Tensor:
        """Return ``W^_uv`` on the half spectrum, ``(C, C, H * (W // 2 + 1))``."""
        return kernel_spectrum(self.weight, H, W)

    def _in_space(self, H: int, W: int) -> bool:
        """Whether to convolve in space: small kernels are faster there, if they do not wrap."""
        return self.kernel_size <= SMALL and self.kernel_size // 2 <= min(H, W)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        validate_images(x, self.channels, self.weight)
        H, W = x.shape[2:]
        spectrum = self._spectrum(H, W)
        if self._in_space(H, W):
            r = self.kernel_size // 2
            z = F.conv2d(F.pad(x, (r, r, r, r), mode="circular"), self.weight)
        else:
            product = spectrum.permute(2, 0, 1) @ to_frequencies(x).permute(2, 1, 0)
            z = from_frequencies(product.permute(2, 1, 0), x)
        return z, per_sample(_total(slogdet_frequencies(spectrum), x), x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        validate_images(z, self.channels, self.weight)
        spectrum = self._spectrum(z.shape[2], z.shape[3])
        frequencies, logabsdet = solve_frequencies(spectrum, to_frequencies(z), overwrite=True)
        return from_frequencies(frequencies, z), -per_sample(_total(logabsdet, z), z)

    def log_det(self, x: Tensor) -> Tensor:
        validate_images(x, self.channels, self.weight)
        spectrum = self._spectrum(x.shape[2], x.shape[3])
        return per_sample(_total(slogdet_frequencies(spectrum), x), x)


def _total(logabsdet: Tensor, x: Tensor) -> Tensor:
    """Return the sum over all frequencies, from the values on the half spectrum ``(F,)``."""
    H, W = x.shape[2:]
    twice = torch.ones(W // 2 + 1, dtype=x.dtype, device=x.device)
    twice[1 : (W + 1) // 2] = 2  # columns 1..W/2-1 (W even) or 1..(W-1)/2 (W odd) stand for two
    return (logabsdet.reshape(H, -1) * twice).sum()
