"""Linear maps whose errors are bounded in norm."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property

import numpy as np

from emcheck.bounds import THRESHOLDS, Arithmetic, Measure, compare, difference, norm2, too_ill
from emcheck.contract import Event
from emcheck.oracle.linear import LinearDefinition
from emcheck.oracle.logdets import FourierLogdet, LogdetRule
from emcheck.oracle.matrices import ConvFactor
from emcheck.oracle.precision import Array


class Normwise(LinearDefinition):
    """A linear map with normwise rules; a subclass defines the norm and the size of errors."""

    @abstractmethod
    def size(self, x: Array) -> Array:
        """Return the error of one pass of the layer, in units of ``u`` and of the threshold."""

    @abstractmethod
    def norm(self, x: Array) -> Array:
        """Return the norm in which errors are measured, broadcast against ``size``."""

    rule: str

    @property
    @abstractmethod
    def condition(self) -> float:
        """Condition number in the norm of the rule."""

    def _floor(self, arithmetic: Arithmetic) -> float:
        return 2 * int(np.prod(self.event)) * arithmetic.tiny

    def _measure(
        self, error: Array, size: Array, arithmetic: Arithmetic, excusable: bool = False
    ) -> Measure:
        """Compare an error with its bound; only a bound with the condition in it may be excused."""
        bound = arithmetic.u * size + self._floor(arithmetic)
        ill = excusable and too_ill(self.condition, arithmetic.u * self.event[0])
        return compare(self.norm(error), 0.0, bound, self.rule, self.condition, ill)

    def local_error(self, x: Array, arithmetic: Arithmetic) -> Array:
        size = arithmetic.u * self.size(x) + self._floor(arithmetic)
        return np.asarray(THRESHOLDS[self.rule] * size)

    def local_residual(self, xh: Array, z: Array, arithmetic: Arithmetic) -> Array:
        return self.local_error(xh, arithmetic)

    def forward_error(self, x: Array, z: Array, arithmetic: Arithmetic) -> Measure:
        return self._measure(difference(z, self.value(x)), self.size(x), arithmetic)

    def backward_error(self, z: Array, xh: Array, arithmetic: Arithmetic) -> Measure:
        return self._measure(difference(self.value(xh), z), self.size(xh), arithmetic)

    def round_trip_error(self, x: Array, xh: Array, arithmetic: Arithmetic) -> Measure:
        size = 2 * self.condition * self.relative_size(x)
        return self._measure(difference(xh, x), size, arithmetic, excusable=True)

    def return_trip_error(self, z: Array, xh: Array, zh: Array, arithmetic: Arithmetic) -> Measure:
        return self._measure(difference(zh, z), 2 * self.size(xh), arithmetic)

    @abstractmethod
    def relative_size(self, x: Array) -> Array:
        """Return ``size(x)`` for a matrix of norm 1."""


class PointwiseDefinition(Normwise):
    """A 1x1 convolution, pixel by pixel in the 1-norm: ``n ||W||_1 ||x||_1 eps`` (rule T7)."""

    rule = "T7"

    def __init__(self, matrix: Array, logdet_rule: LogdetRule, event: Event) -> None:
        super().__init__([ConvFactor(matrix[:, :, None, None])], logdet_rule, event)
        self.weight = matrix
        self.weight_norm = np.abs(matrix).sum(axis=0).max()

    def norm(self, x: Array) -> Array:
        return np.asarray(np.abs(x).sum(axis=1, keepdims=True))

    def relative_size(self, x: Array) -> Array:
        return np.asarray(2 * len(self.weight) * self.norm(x))  # eps = 2 u

    def size(self, x: Array) -> Array:
        return np.asarray(self.weight_norm * self.relative_size(x))

    @cached_property
    def condition(self) -> float:
        narrow = np.asarray(self.weight, dtype=np.float64)
        return float(np.linalg.cond(narrow, 1))


class FourierDefinition(Normwise):
    """A periodic convolution, sample by sample: ``(log2 HW + C) S ||x||_2`` (rule T5)."""

    rule = "T5"

    def __init__(self, weight: Array, event: Event) -> None:
        self.spectrum = FourierLogdet(weight, event[1], event[2])
        super().__init__([ConvFactor(weight, circular=True)], self.spectrum, event)

    def norm(self, x: Array) -> Array:
        return norm2(x)[:, None, None, None]

    def relative_size(self, x: Array) -> Array:
        return self.spectrum.levels * self.norm(x)

    def size(self, x: Array) -> Array:
        return np.asarray(self.spectrum.norm * self.relative_size(x))

    @cached_property
    def condition(self) -> float:
        smallest = float(self.spectrum.spectrum.min())
        return self.spectrum.norm / smallest if smallest > 0 else np.inf
