"""Dense matrices by index formula and operators by shifted sums, in plain NumPy.

Nothing here calls a layer or a convolution routine. The two ways, ``matrix`` entry by entry
and ``apply`` tap by tap, are written independently and tested against each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from emcheck.contract import Event
from emcheck.oracle.precision import Array, as_extended, matmul

MaskName = Literal["square", "raster"]


def tap_is_live(a: int, b: int, o: int, c: int, k: int, mask: MaskName, reverse: bool) -> bool:
    """Whether the tap ``w[o, c, a, b]`` of an autoregressive convolution may be nonzero.

    The centre tap is lower-triangular over channels; the other live taps lie before the
    centre, in raster order or in the upper-left quadrant. ``reverse`` looks at the tap
    after both space axes and both channel axes have been flipped.
    """
    r = k // 2
    if reverse:
        a, b, o, c = k - 1 - a, k - 1 - b, -o, -c
    if (a, b) == (r, r):
        return c <= o
    if mask == "square":
        return a <= r and b <= r
    return (a, b) < (r, r)


def masked(weight: Array, mask: MaskName, reverse: bool) -> Array:
    """Return a copy of ``weight (O, C, k, k)`` with every dead tap set to zero, one by one."""
    O, C, k, _ = weight.shape
    out = np.zeros_like(as_extended(weight))
    for o, c, a, b in np.ndindex(O, C, k, k):
        if tap_is_live(a, b, o, c, k, mask, reverse):
            out[o, c, a, b] = weight[o, c, a, b]
    return out


@dataclass(frozen=True)
class ConvFactor:
    """The linear map of one stride-1 cross-correlation.

    ``z[o,i,j] = sum_{c,a,b} w[o,c,a,b] x[c, i+(a-r)D, j+(b-r)D]``, with zeros outside the
    image, or indices modulo the image size if ``circular``.
    """

    weight: Array  # (O, C, k, k), extended precision
    dilation: int = 1
    circular: bool = False

    def nonzeros(self) -> int:
        """Return the most nonzeros that a row of the matrix can have (``m`` of the bounds)."""
        return int((self.weight != 0).sum(axis=(1, 2, 3)).max())

    def absolute(self) -> ConvFactor:
        """Return the same map with every weight replaced by its absolute value."""
        return ConvFactor(np.abs(self.weight), self.dilation, self.circular)

    def apply(self, x: Array) -> Array:
        """``A x`` for ``x (B, C, H, W)``, as a sum of shifted images.

        Cost: ``B H W C O k^2`` multiplications in the precision of the operands.
        """
        B, _, H, W = x.shape
        O, k = self.weight.shape[0], self.weight.shape[-1]
        z = np.zeros((B, O, H, W), dtype=np.result_type(x, self.weight))
        rows, columns = np.arange(H), np.arange(W)
        for a, b in np.ndindex(k, k):
            w = self.weight[:, :, a, b]
            if not w.any():
                continue
            i, j = rows + (a - k // 2) * self.dilation, columns + (b - k // 2) * self.dilation
            if self.circular:
                shifted = x[:, :, i % H][:, :, :, j % W]
                z += _mix_channels(w, shifted)
                continue
            inside_i, inside_j = (i >= 0) & (i < H), (j >= 0) & (j < W)
            if inside_i.any() and inside_j.any():
                part = x[:, :, i[inside_i]][:, :, :, j[inside_j]]
                z[:, :, rows[inside_i, None], columns[None, inside_j]] += _mix_channels(w, part)
        return z

    def matrix(self, event: Event) -> Array:
        """Return the dense matrix ``M[(o,i,j),(c,i',j')]``, entry by entry from the definition."""
        C, H, W = event
        O, k, D = self.weight.shape[0], self.weight.shape[-1], self.dilation
        M = np.zeros((O, H, W, C, H, W), dtype=self.weight.dtype)
        for i, j, a, b in np.ndindex(H, W, k, k):
            p, q = i + (a - k // 2) * D, j + (b - k // 2) * D
            if self.circular:
                p, q = p % H, q % W
            if 0 <= p < H and 0 <= q < W:
                M[:, i, j, :, p, q] += self.weight[:, :, a, b]
        return M.reshape(O * H * W, C * H * W)


def _mix_channels(w: Array, x: Array) -> Array:
    """``sum_c w[o,c] x[b,c,i,j]`` as one matrix product over all pixels."""
    B, C, H, W = x.shape
    columns = x.transpose(1, 0, 2, 3).reshape(C, -1)
    return matmul(w, columns).reshape(-1, B, H, W).transpose(1, 0, 2, 3)


def pointwise(matrix: Array) -> ConvFactor:
    """Return the 1x1 convolution with ``matrix (O, C)``."""
    return ConvFactor(as_extended(matrix)[:, :, None, None])


def householder(vectors: Array) -> Array:
    """``Q = Q_1 ... Q_n``, ``Q_i = I - 2 v_i v_i^T / (v_i^T v_i)``, rows ``v_i (n, C)``."""
    vectors = as_extended(vectors)
    C = vectors.shape[1]
    Q = np.eye(C, dtype=vectors.dtype)
    for v in vectors:
        scaled = v / np.abs(v).max()  # the reflection does not depend on the length of v
        Q = Q - np.outer(matmul(Q, scaled[:, None]), 2 * scaled / (scaled @ scaled))
    return Q


def squeeze_index(event: Event, factor: int) -> Array:
    """Return the source index of every output entry of squeeze, flat over ``(f^2 C, H/f, W/f)``.

    Output channel ``c f^2 + a f + b`` at ``(i, j)`` takes input channel ``c`` at
    ``(i f + a, j f + b)``.
    """
    C, H, W = event
    f = factor
    index = np.zeros((C * f * f, H // f, W // f), dtype=np.int64)
    for c, a, b, i, j in np.ndindex(C, f, f, H // f, W // f):
        index[c * f * f + a * f + b, i, j] = (c * H + i * f + a) * W + j * f + b
    return index.reshape(-1)


def frequency_matrices(weight: Array, height: int, width: int) -> Array:
    """``W^_uv = sum_a w_a exp(+2 pi i (u a_y / H + v a_x / W))`` for all ``(H W, O, C)``.

    Offsets ``a`` count from the centre tap; the phase is taken modulo one turn, so large
    kernels lose no digits. It is a direct sum over taps, not an FFT.
    """
    O, C, k, _ = weight.shape
    u, v = np.arange(height), np.arange(width)
    out = np.zeros((height, width, O, C), dtype=np.complex128)
    for a, b in np.ndindex(k, k):
        turns_u = (u * (a - k // 2)) % height / height
        turns_v = (v * (b - k // 2)) % width / width
        phase = np.exp(2j * np.pi * (turns_u[:, None] + turns_v[None, :]))
        out += phase[:, :, None, None] * np.asarray(weight[:, :, a, b], dtype=np.float64)
    return out.reshape(height * width, O, C)
