"""The closed forms of the log-dets of linear layers, with their rounding bounds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from emcheck import bounds
from emcheck.bounds import Arithmetic
from emcheck.oracle.matrices import frequency_matrices
from emcheck.oracle.precision import Array, slogdet


class LogdetRule(Protocol):
    """A log-det that does not depend on x: value, bound and the name of the rule."""

    @property
    def rule(self) -> str: ...

    @property
    def value(self) -> float: ...

    @property
    def condition(self) -> float: ...

    def bound(self, arithmetic: Arithmetic) -> float: ...


@dataclass(frozen=True)
class DiagonalLogdet:
    """``HW sum_c log|d_c|`` (rule T4)."""

    log_abs: Array  # (C,), extended precision
    pixels: int
    rule: str = "T4"
    condition: float = float("nan")

    @property
    def value(self) -> float:
        return self.pixels * self.log_abs.sum()

    def bound(self, arithmetic: Arithmetic) -> float:
        return bounds.diagonal_logdet(self.log_abs, self.pixels, arithmetic)


@dataclass(frozen=True)
class NoLogdet:
    """0 of a map that keeps volume, exactly."""

    rule: str = "EXACT"
    value: float = 0.0
    condition: float = 1.0

    def bound(self, arithmetic: Arithmetic) -> float:
        return 0.0


@dataclass(frozen=True)
class DenseLogdet:
    """``HW log|det W|`` (rule T7)."""

    matrix: Array  # (C, C), extended precision
    pixels: int
    rule: str = "T7"

    @cached_property
    def _pair(self) -> tuple[float, float]:
        return slogdet(self.matrix)

    @property
    def value(self) -> float:
        return self.pixels * self._pair[0]

    @property
    def condition(self) -> float:
        return self._pair[1]

    def bound(self, arithmetic: Arithmetic) -> float:
        n = len(self.matrix)
        return bounds.dense_logdet(n, self.condition, self.pixels, self.value, arithmetic)


@dataclass(frozen=True)
class FourierLogdet:
    """``sum_uv log|det W^_uv|`` (rule T6)."""

    weight: Array  # (C, C, k, k), extended precision
    height: int
    width: int
    rule: str = "T6"

    @cached_property
    def spectrum(self) -> Array:
        """Singular values of every frequency, ``(HW, C)``."""
        return np.linalg.svd(self._matrices, compute_uv=False)

    @cached_property
    def _matrices(self) -> Array:
        return frequency_matrices(self.weight, self.height, self.width)

    @cached_property
    def value(self) -> float:
        if self.spectrum.min() == 0:
            return -np.inf
        if self.condition <= 1e6:  # far from where a float64 LU would lose digits of the sum
            return float(np.linalg.slogdet(self._matrices)[1].sum())
        return float(sum(slogdet(matrix)[0] for matrix in self._matrices))

    @cached_property
    def condition(self) -> float:
        smallest = self.spectrum.min()
        return float(self.spectrum.max() / smallest) if smallest > 0 else np.inf

    @cached_property
    def norm(self) -> float:
        """``S = sum_a ||w_a||_2``, which bounds every ``||W^_uv||`` and what the FFT sums."""
        taps = np.moveaxis(np.asarray(self.weight, dtype=np.float64), (2, 3), (0, 1))
        return float(np.linalg.norm(taps, ord=2, axis=(2, 3)).sum())

    @property
    def levels(self) -> float:
        """``log2 HW + C``: butterflies of the transform plus the sum over channels."""
        return float(np.log2(self.height * self.width) + self.weight.shape[0])

    def bound(self, arithmetic: Arithmetic) -> float:
        return bounds.fourier_logdet(self.spectrum, self.norm, self.levels, arithmetic)
