"""The periodic convolution of the paper, inverted in the frequency domain."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emcheck.contract import (
    InvertibleLayer,
    validate_images,
    validate_kernel_size,
    validate_positive,
)
from emcheck.layers._tools import (
    per_sample,
    random_orthogonal,
)
from emcheck.solve.frequencies import slogdet_frequencies, solve_frequencies

#: The largest kernel that is convolved in space and whose spectrum is a product with the waves of
#: its taps. Measured at 12x16x16 to 48x4x4 and 12x32x32, batch 32: in space k = 3 takes 0.3 to 0.8
#: of the time of the transforms, k = 5 takes 0.8 to 1.8.
SMALL = 3


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
        k = self.kernel_size
        if k <= SMALL:
            waves = _waves if torch.compiler.is_compiling() else _kept_waves
            parts = self.weight.flatten(2) @ waves(k, H, W, self.weight.dtype, self.weight.device)
            return torch.complex(*parts.chunk(2, -1))
        image = _wrapped(_wrapped(self.weight, 2, H), 3, W).roll((-(k // 2), -(k // 2)), (2, 3))
        return torch.fft.rfft2(image).flatten(2).conj().resolve_conj()  # it is a correlation

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
            product = spectrum.permute(2, 0, 1) @ _to_frequencies(x).permute(2, 1, 0)
            z = _from_frequencies(product.permute(2, 1, 0), x)
        return z, per_sample(_total(slogdet_frequencies(spectrum), x), x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        validate_images(z, self.channels, self.weight)
        spectrum = self._spectrum(z.shape[2], z.shape[3])
        frequencies, logabsdet = solve_frequencies(spectrum, _to_frequencies(z), overwrite=True)
        return _from_frequencies(frequencies, z), -per_sample(_total(logabsdet, z), z)

    def log_det(self, x: Tensor) -> Tensor:
        validate_images(x, self.channels, self.weight)
        spectrum = self._spectrum(x.shape[2], x.shape[3])
        return per_sample(_total(slogdet_frequencies(spectrum), x), x)


def _wrapped(kernel: Tensor, axis: int, size: int) -> Tensor:
    """Wrap one axis of ``(C, C, k, k)`` modulo ``size``, to that length.

    It sums stretches of that size, because ``index_add`` has no fixed order on a GPU.
    """
    missing = -kernel.shape[axis] % size
    padded = F.pad(kernel, (0, missing) if axis == 3 else (0, 0, 0, missing))
    stretches = padded.unflatten(axis, (-1, size))
    return stretches.sum(axis) if stretches.shape[axis] > 1 else padded


def _waves(k: int, H: int, W: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """``exp(2 pi i (u a_y / H + v a_x / W))``: real parts, then imaginary, ``(k k, 2 F)``.

    They depend on sizes alone, so a cached copy cannot go stale.
    """
    offset = torch.arange(k) - k // 2
    rows = (offset[:, None] * torch.arange(H) % H).double() / H  # turns, (k, H)
    columns = (offset[:, None] * torch.arange(W // 2 + 1) % W).double() / W
    turns = rows[:, None, :, None] + columns[None, :, None, :]
    angle = 2 * torch.pi * turns.flatten(2).flatten(0, 1)
    return torch.cat([angle.cos(), angle.sin()], 1).to(device, dtype)


_kept_waves = functools.lru_cache(maxsize=16)(torch.inference_mode(False)(_waves))


def _to_frequencies(x: Tensor) -> Tensor:
    """Transform ``(B, C, H, W)`` to the half spectrum ``(B, C, F)``."""
    # The FFT of an empty batch is an error in some builds of torch.
    padded = x if len(x) else x.new_zeros(1, *x.shape[1:])
    return torch.fft.rfft2(padded)[: len(x)].flatten(2)


def _from_frequencies(frequencies: Tensor, like: Tensor) -> Tensor:
    """Transform the half spectrum ``(B, C, F)`` back to ``(B, C, H, W)``, the shape of ``like``."""
    B, C, H, W = like.shape
    if B == 0:
        return torch.zeros_like(like)
    transformed = frequencies.reshape(B, C, H, W // 2 + 1)
    return torch.fft.irfft2(transformed.contiguous(), s=(H, W))  # strided FFTs are slower


def _total(logabsdet: Tensor, x: Tensor) -> Tensor:
    """Return the sum over all frequencies, from the values on the half spectrum ``(F,)``."""
    H, W = x.shape[2:]
    twice = torch.ones(W // 2 + 1, dtype=x.dtype, device=x.device)
    twice[1 : (W + 1) // 2] = 2  # columns 1..W/2-1 (W even) or 1..(W-1)/2 (W odd) stand for two
    return (logabsdet.reshape(H, -1) * twice).sum()
