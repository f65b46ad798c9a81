"""torch's FFT, odd and even sizes, against the definition in extended and multi-precision."""

from __future__ import annotations

from collections.abc import Iterator

import mpmath
import numpy as np
import torch

from emcheck.doctor import bounds
from emcheck.doctor.bounds import NORMWISE, Array
from emcheck.doctor.case import Case
from emcheck.doctor.matrices import DIGITS

SIZES = ((4, 4), (5, 7), (6, 9), (8, 8), (15, 16), (31, 33), (32, 32), (1, 6), (7, 1), (64, 64))
DTYPES = ("float64", "float32")


def _fourier(n: int) -> Array:
    """``exp(-2 pi i j k / n)`` in extended precision; j k is reduced modulo n exactly."""
    index = np.arange(n)
    angle = (index[:, None] * index % n).astype(np.longdouble) * 8 * np.arctan(np.longdouble(1))
    return np.asarray(np.exp(-1j * angle / n))


def _transform(x: Array) -> Array:
    """The two-dimensional transform by definition, ``F_H x F_W``. Cost: HW (H + W)."""
    return np.asarray(_fourier(x.shape[-2]) @ x @ _fourier(x.shape[-1]))


def _multiprecision(x: Array) -> Array:
    """The two-dimensional transform of one small image by mpmath."""
    H, W = x.shape
    y = np.empty((H, W), complex)
    with mpmath.workdps(DIGITS):
        for u, v in np.ndindex(H, W):
            turns = (
                (mpmath.mpf(u * i) / H + mpmath.mpf(v * j) / W, x[i, j])
                for i, j in np.ndindex(H, W)
            )
            y[u, v] = complex(mpmath.fsum(mpmath.expjpi(-2 * t) * float(e) for t, e in turns))
    return y


def _compare(label: str, found: torch.Tensor, true: Array) -> Case:
    array = found.numpy()
    ratio = bounds.fft_ratio(array, true, bounds.unit_roundoff(array.dtype))
    return Case(label, ratio if array.shape == true.shape else float("inf"), NORMWISE)


def _cases(x: Array, spectrum: Array, label: str) -> Iterator[Case]:
    """Compare both directions of the half and the full spectrum of one batch of real images."""
    half, complex_dtype = x.shape[-1] // 2 + 1, np.result_type(x.dtype, np.complex64)
    image, full = torch.tensor(x), torch.tensor(spectrum.astype(complex_dtype))
    yield _compare(f"rfft2 {label}", torch.fft.rfft2(image), spectrum[..., :half])
    yield _compare(f"fft2 {label}", torch.fft.fft2(image), spectrum)
    yield _compare(f"ifft2 {label}", torch.fft.ifft2(full), x)
    back = torch.fft.irfft2(full[..., :half], s=x.shape[-2:])
    yield _compare(f"irfft2 {label}", back, x)


def fft() -> Iterator[Case]:
    """rfft2, irfft2, fft2 and ifft2 of real images, and fft2 of complex ones."""
    for H, W in ((3, 4), (4, 5)):
        x = np.random.default_rng(H).standard_normal((H, W))
        yield from _cases(x, _multiprecision(x), f"{H}x{W} by mpmath")
    for H, W in SIZES:
        real, imaginary = np.random.default_rng(H * W).standard_normal((2, 2, 3, H, W))
        for dtype in DTYPES:
            x, label = real.astype(dtype), f"{H}x{W} {dtype}"
            yield from _cases(x, _transform(x), label)
            z = x + 1j * imaginary.astype(dtype)
            yield _compare(f"fft2 {label} complex", torch.fft.fft2(torch.tensor(z)), _transform(z))
