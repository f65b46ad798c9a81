"""Claim b: the Fourier transform covers the whole feature map, not the receptive field."""

from __future__ import annotations

import numpy as np
import torch

from emcheck._internal.randomness import stream
from emcheck.bounds import THRESHOLDS, Arithmetic, compare, dense_logdet
from emcheck.layers import PeriodicConv2d
from emcheck.oracle import ConvFactor, slogdet
from emcheck.oracle.logdets import FourierLogdet
from emcheck.oracle.matrices import frequency_matrices
from emcheck.oracle.precision import Array
from studies.claims.core import Claim, Evidence, Fact, Row, rounding

#: Side of the image of the supports, and the sizes of the curve.
SIDE, SIZES = 8, tuple(range(3, 25))

_DOUBLE = Arithmetic.of(torch.float64)


def box() -> Array:
    """The 3x3 box filter, ``(1, 1, 3, 3)``: every tap 1/9."""
    return np.full((1, 1, 3, 3), 1 / 9)


def sharp() -> Array:
    """Centre 1, neighbours 1/16: their sum is less than the centre, so no size is singular."""
    weight = np.full((1, 1, 3, 3), 1 / 16)
    weight[0, 0, 1, 1] = 1.0
    return weight


def _random() -> Array:
    """Two channels, a 3x3 kernel with a strong centre, ``(2, 2, 3, 3)``."""
    weight = 0.15 * torch.randn(2, 2, 3, 3, generator=stream("claim b"), dtype=torch.float64)
    weight[:, :, 1, 1] += torch.eye(2)
    return weight.numpy()


def _centre_only() -> Array:
    """A 1x1 in the place of a 3x3 kernel: its inverse has no more taps than it has."""
    weight = _random()
    centre = weight[:, :, 1, 1].copy()
    weight[:] = 0
    weight[:, :, 1, 1] = centre
    return weight


def _rounding_of(weight: Array, size: int) -> float:
    """T5: what a transform of a kernel may err by, ``u (log2 HW + C) S``."""
    transform = FourierLogdet(weight, size, size)
    return _DOUBLE.u * transform.levels * transform.norm


def _back(matrices: Array, size: int) -> Array:
    """The inverse transform of ``(HW, O, C)``: taps by offset ``(O, C, H, W)``, centre at 0."""
    C = matrices.shape[-1]
    # The project's transform has exp(+2 pi i ...), so the way back is the forward FFT over HW.
    grid = matrices.reshape(size, size, C, C).transpose(2, 3, 0, 1)
    return np.asarray(np.fft.fft2(grid).real / size**2)


def _off_kernel(taps: Array, k: int) -> Array:
    """The largest ``|tap|`` over channels at every offset outside of the kernel; inside 0."""
    outside = np.ones(taps.shape[2:], bool)
    near = np.arange(-(k // 2), k // 2 + 1)
    outside[np.ix_(near, near)] = False
    return np.asarray(np.abs(taps).max((0, 1)) * outside)


def _smallest(weight: Array, size: int) -> float:
    """The smallest singular value over all frequencies of an image of ``size x size``."""
    matrices = frequency_matrices(weight, size, size)
    return float(np.linalg.svd(matrices, compute_uv=False).min())


def _supports(weight: Array) -> tuple[list[Row], list[Fact]]:
    """Which taps a row of the convolution and of its inverse has."""
    matrices = frequency_matrices(weight, SIDE, SIDE)
    noise = _rounding_of(weight, SIDE)
    forward = _back(matrices, SIDE)
    inverse = _back(np.linalg.inv(matrices), SIDE)
    condition = float(np.linalg.cond(matrices).max())
    k, pixels = weight.shape[-1], SIDE * SIDE
    beyond = int((_off_kernel(inverse, k) > THRESHOLDS["T5"] * condition * noise).sum())
    rows = int((ConvFactor(weight, circular=True).matrix((len(weight), SIDE, SIDE)) != 0)[0].sum())
    facts = [
        Fact("nonzeros in a row of the periodic 3x3 convolution", rows, "==", len(weight) * k * k),
        rounding("inverse transform of W^ off the kernel",
                 compare(_off_kernel(forward, k).max(), 0.0, noise, "T5")),
        Fact("offsets beyond the kernel at which the inverse transform of W^^-1 is not 0",
             beyond, "==", pixels - k * k),
    ]  # fmt: skip
    table: list[Row] = [
        {"operator": name, "down": i, "right": j, "size": float(np.abs(taps[:, :, i, j]).max())}
        for name, taps in (("convolution", forward), ("inverse", inverse))
        for i, j in np.ndindex(SIDE, SIDE)
    ]
    return table, facts


def _curve(kernel: Array) -> tuple[list[Row], list[Fact]]:
    """The smallest singular value of one kernel against the size of the image."""
    kernels = {"box": kernel, "sharp": sharp()}
    rows: list[Row] = [
        {"kernel": name, "size": size, "smallest": _smallest(weight, size)}
        for name, weight in kernels.items()
        for size in SIZES
    ]
    smallest = {(row["kernel"], row["size"]): row["smallest"] for row in rows}
    threes = [size for size in SIZES if size % 3 == 0]
    others = [smallest["box", size] for size in SIZES if size % 3]
    golden = ((1 - (1 + 5**0.5) / 2) / 3) ** 2  # (1 + 2 cos(4 pi / 5)) / 3, squared
    noise = {size: _rounding_of(kernel, size) for size in SIZES}
    facts = [
        rounding("min |W^| of the box filter at 4x4 against 1/9",
                 compare(smallest["box", 4], 1 / 9, noise[4], "T5")),
        rounding("min |W^| at 5x5 against its closed form 0.0424",
                 compare(smallest["box", 5], golden, noise[5], "T5")),
        rounding("min |W^| at the multiples of 3 against 0",
                 compare([smallest["box", n] for n in threes], 0.0, [noise[n] for n in threes],
                         "T5")),
        Fact("min |W^| of the box filter at all other sizes, over rounding",
             min(others) / max(noise.values()), ">=", THRESHOLDS["T5"]),
        Fact("min |W^| of a kernel whose centre outweighs its neighbours, all sizes",
             min(smallest["sharp", n] for n in SIZES), ">=", 0.5),
    ]  # fmt: skip
    return rows, facts


def _wrapping() -> tuple[list[Row], list[Fact]]:
    """A 5x5 kernel on a 3x3 image wraps; cropped to 3x3 it is another operator."""
    layer = PeriodicConv2d(2, 5, generator=stream("claim b, wrapping")).double()
    weight = layer.weight.detach().numpy()
    logdet = float(layer.log_det(torch.zeros(1, 2, 3, 3, dtype=torch.float64)).detach())
    whole, condition = slogdet(ConvFactor(weight, circular=True).matrix((2, 3, 3)))
    cropped, _ = slogdet(ConvFactor(weight[:, :, 1:4, 1:4], circular=True).matrix((2, 3, 3)))
    bound = dense_logdet(18, condition, 1, whole, _DOUBLE)
    right, wrong = (compare(logdet, value, bound, "T9") for value in (whole, cropped))
    facts = [
        rounding("log-det of a wrapped 5x5 kernel at 3x3 against LU", right),
        Fact("the same against the kernel cropped to 3x3, error over bound", wrong.ratio, ">=",
             right.threshold),
    ]  # fmt: skip
    table: list[Row] = [{"layer": logdet, "wrapped": whole, "cropped": cropped, "bound": bound}]
    return table, facts


def measure() -> Evidence:
    """Supports of a kernel and its inverse, a filter singular at some sizes, wrapping."""
    supports, of_rows = _supports(_random())
    curve, of_sizes = _curve(box())
    wrapping, of_wrapping = _wrapping()
    verdict = (
        "The whole feature map: W^ has as many frequencies as there are pixels, and only its "
        "coefficients are as few as the kernel's taps; those of its inverse fill all "
        f"{SIDE * SIDE} offsets of an {SIDE}x{SIDE} image. So one kernel can be invertible at one "
        "size and not at another: the 3x3 box filter at 4x4 (min |W^| = 0.111) and 5x5 (0.042), "
        "not at 6x6."
    )
    tables = {"supports": supports, "sizes": curve, "wrapping": wrapping}
    return Evidence([*of_rows, *of_sizes, *of_wrapping], verdict, tables)


CLAIM = Claim(
    letter="b",
    name="whole-feature-map",
    doubt="What range does the Fourier transform cover? It seems tied to the receptive field.",
    statement=(
        "The transform covers all H W frequencies, whatever the kernel; the receptive field only "
        "bounds the number of coefficients of W^, not of its inverse."
    ),
    measure=measure,
    negations={
        "a kernel whose inverse is as small as itself": lambda: Evidence(
            _supports(_centre_only())[1], ""
        ),
        "a filter that is singular nowhere": lambda: Evidence(_curve(sharp())[1], ""),
    },
)
