"""The Cayley transform of a circular convolution, solved in space in extended precision."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from emcheck.bounds import norm2
from emcheck.contract import Event
from emcheck.oracle.logdets import FourierLogdet, NoLogdet
from emcheck.oracle.matrices import ConvFactor, frequency_matrices
from emcheck.oracle.normwise import Normwise
from emcheck.oracle.precision import EXTENDED, Array

#: Steps of iterative refinement: each gains the digits of float64 over the condition of I + A.
_REFINEMENTS = 4


class OrthogonalDefinition(Normwise):
    """``z = (I - A) (I + A)^-1 x`` with ``A = M - M^T``, ``M`` a circular convolution (rule T5).

    The residuals of ``(I + A) y = x`` are sums over shifted images in extended precision; only the
    corrections, in float64, come from frequencies.
    """

    rule = "T5"

    def __init__(self, weight: Array, event: Event) -> None:
        self.kernel = ConvFactor(weight, circular=True)
        super().__init__([self.kernel], NoLogdet(), event)
        # Row and column of the matrix exchanged: the channels, and the signs of the offsets.
        self.transposed = ConvFactor(weight.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1], circular=True)
        self.spectrum = FourierLogdet(weight, event[1], event[2])

    def _skew(self, x: Array) -> Array:
        return np.asarray(self.kernel.apply(x) - self.transposed.apply(x))

    def apply(self, x: Array) -> Array:
        x = np.asarray(x, dtype=EXTENDED)
        y = np.zeros_like(x)
        for _ in range(_REFINEMENTS):
            y = y + self._corrected(x - y - self._skew(y))
        return np.asarray(2 * y - x)

    @cached_property
    def _shifted(self) -> Array:
        """``I + A_uv`` at all frequencies, ``(HW, C, C)``."""
        _, H, W = self.event
        matrices = frequency_matrices(self.factors[0].weight, H, W)
        return np.eye(self.event[0]) + matrices - matrices.conj().transpose(0, 2, 1)

    def _corrected(self, residual: Array) -> Array:
        """Solve ``(I + A) dy = residual`` in float64, scaled against overflow."""
        size = np.abs(residual).max(initial=0.0) or EXTENDED(1)
        B, C, H, W = residual.shape
        narrow = np.asarray(residual / size, dtype=np.float64)
        columns = np.fft.fft2(narrow).reshape(B, C, H * W).transpose(2, 1, 0)
        solved = np.linalg.solve(self._shifted, columns).transpose(2, 1, 0).reshape(B, C, H, W)
        return np.asarray(np.fft.ifft2(solved).real * size)

    @cached_property
    def matrix(self) -> Array:
        """The dense matrix, ``(n, n)``: the images of the basis."""
        n = int(np.prod(self.event))
        return self.apply(np.eye(n, dtype=EXTENDED).reshape(n, *self.event)).reshape(n, n).T

    def jacobian(self, x: Array) -> Array:
        return self.matrix

    def absolute(self, x: Array) -> Array:
        flat = np.abs(x).reshape(len(x), -1) @ np.abs(self.matrix).T
        return np.asarray(flat.reshape(x.shape))

    def norm(self, x: Array) -> Array:
        return norm2(x)[:, None, None, None]

    def relative_size(self, x: Array) -> Array:
        return self.spectrum.levels * self.norm(x)

    def size(self, x: Array) -> Array:
        return np.asarray((1 + 2 * self.spectrum.norm) * self.relative_size(x))

    @property
    def condition(self) -> float:
        return 1.0
