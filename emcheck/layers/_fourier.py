"""Real images and kernels in the frequency domain, for layers that wrap around."""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn import functional as F

#: The largest kernel whose spectrum is a product with the waves of its taps, and that is convolved
#: in space. Measured at 12x16x16 to 48x4x4 and 12x32x32, batch 32: in space k = 3 takes 0.3 to 0.8
#: of the time of the transforms, k = 5 takes 0.8 to 1.8.
SMALL = 3


def kernel_spectrum(weight: Tensor, H: int, W: int) -> Tensor:
    """Return ``W^_uv`` of ``weight (C, C, k, k)`` on the half spectrum, ``(C, C, H (W // 2 + 1))``.

    ``W^_uv = sum_a w_a exp(+2 pi i (u a_y / H + v a_x / W))`` with offsets from the centre tap; a
    kernel larger than the image wraps.
    """
    k = weight.shape[-1]
    if k <= SMALL:
        waves = _waves if torch.compiler.is_compiling() else _kept_waves
        parts = weight.flatten(2) @ waves(k, H, W, weight.dtype, weight.device)
        return torch.complex(*parts.chunk(2, -1))
    image = _wrapped(_wrapped(weight, 2, H), 3, W).roll((-(k // 2), -(k // 2)), (2, 3))
    return torch.fft.rfft2(image).flatten(2).conj().resolve_conj()  # it is a correlation


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


def to_frequencies(x: Tensor) -> Tensor:
    """Transform ``(B, C, H, W)`` to the half spectrum ``(B, C, F)``."""
    # The FFT of an empty batch is an error in some builds of torch.
    padded = x if len(x) else x.new_zeros(1, *x.shape[1:])
    return torch.fft.rfft2(padded)[: len(x)].flatten(2)


def from_frequencies(frequencies: Tensor, like: Tensor) -> Tensor:
    """Transform the half spectrum ``(B, C, F)`` back to ``(B, C, H, W)``, the shape of ``like``."""
    B, C, H, W = like.shape
    if B == 0:
        return torch.zeros_like(like)
    transformed = frequencies.reshape(B, C, H, W // 2 + 1)
    return torch.fft.irfft2(transformed.contiguous(), s=(H, W))  # strided FFTs are slower
