"""Definitions of linear layers: factors, bias, and the rule that their rounding errors obey."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from emcheck.bounds import THRESHOLDS, Arithmetic, Measure, compare, too_ill
from emcheck.contract import Event
from emcheck.oracle.definition import Definition, Running
from emcheck.oracle.logdets import LogdetRule
from emcheck.oracle.matrices import ConvFactor
from emcheck.oracle.precision import EXTENDED, Array, matmul
from emcheck.oracle.spectrum import inverse_matrix


class LinearDefinition(Definition):
    """``z = F_L ... F_1 x + b`` with a log-det that does not depend on ``x``."""

    linear = True

    def __init__(
        self,
        factors: Sequence[ConvFactor],
        logdet_rule: LogdetRule,
        event: Event,
        bias: Array | None = None,
    ) -> None:
        self.factors = tuple(factors)
        self.logdet_rule = logdet_rule
        self.event = event
        bias = np.zeros(1, dtype=EXTENDED) if bias is None else bias
        self.bias = bias[None, :, None, None]

    def apply(self, x: Array) -> Array:
        """Return ``A x`` without the bias."""
        for factor in self.factors:
            x = factor.apply(x)
        return x

    def absolute(self, x: Array) -> Array:
        """``|F_L| ... |F_1| |x|``."""
        x = np.abs(x)
        for factor in self.factors:
            x = factor.absolute().apply(x)
        return x

    def value(self, x: Array) -> Array:
        return np.asarray(self.apply(x) + self.bias)

    def logdet(self, x: Array) -> Array:
        return np.full(len(x), self.logdet_rule.value)

    def tangent(self, x: Array, v: Array) -> Array:
        return self.apply(v)

    @cached_property
    def matrix(self) -> Array:
        """The dense matrix by index formula, ``(n, n)``, independent of ``apply``."""
        C, H, W = self.event
        out = np.eye(C * H * W, dtype=EXTENDED)
        for factor in self.factors:
            out = matmul(factor.matrix((factor.weight.shape[1], H, W)), out)
        return out

    @cached_property
    def inverse_matrix(self) -> Array:
        """``A^-1`` in float64, ``(n, n)``; infinite entries if the matrix is singular."""
        return inverse_matrix(self.matrix)

    def inverse_jacobian(self, x: Array) -> Array:
        return self.inverse_matrix

    def running(self, x: Array, error: Array, arithmetic: Arithmetic) -> Running:
        pushed = self.absolute(error) if error.any() else 0.0
        logdet = self.logdet(x)
        bound = self.logdet_rule.bound(arithmetic) * THRESHOLDS[self.logdet_rule.rule]
        local = self.local_error(x, arithmetic) if arithmetic.u else np.zeros(1)
        return Running(self.value(x), local + pushed, logdet, np.full(len(x), bound))

    def logdet_error(self, x: Array, logdet: Array, arithmetic: Arithmetic) -> Measure:
        rule = self.logdet_rule
        bound = rule.bound(arithmetic)
        return compare(logdet, self.logdet(x), bound, rule.rule, rule.condition)

    @abstractmethod
    def local_error(self, x: Array, arithmetic: Arithmetic) -> Array:
        """Bound the forward rounding error, entry by entry, for an exact ``x``."""


class Componentwise(LinearDefinition):
    """Sums of products and substitution: rules T1, T2 and T3.

    ``m`` is the largest number of nonzeros in a row, summed over the factors, plus
    ``roundings``, those of the parameters themselves (4 for an exponential). The bias is added
    last and costs one more rounding.
    """

    def __init__(
        self,
        factors: Sequence[ConvFactor],
        logdet_rule: LogdetRule,
        event: Event,
        bias: Array | None = None,
        roundings: int = 0,
    ) -> None:
        super().__init__(factors, logdet_rule, event, bias)
        self.m = sum(factor.nonzeros() for factor in self.factors) + roundings

    def _underflow(self, arithmetic: Arithmetic) -> Array:
        """``(m_l + 1) tiny`` of every factor, pushed through the factors after it."""
        C, H, W = self.event
        total: Array = np.zeros((1, C, H, W), dtype=EXTENDED)
        for factor in self.factors:
            total = factor.absolute().apply(total) + (factor.nonzeros() + 1) * arithmetic.tiny
        return total

    def _size(self, x: Array) -> Array:
        return np.asarray(self.absolute(x) + np.abs(self.bias))

    def local_error(self, x: Array, arithmetic: Arithmetic) -> Array:
        return arithmetic.gamma(self.m + 1) * self._size(x) + self._underflow(arithmetic)

    def local_residual(self, xh: Array, z: Array, arithmetic: Arithmetic) -> Array:
        size = self._size(xh) + np.abs(z)
        return arithmetic.gamma(self.m + 1) * size + self._underflow(arithmetic)

    def forward_error(self, x: Array, z: Array, arithmetic: Arithmetic) -> Measure:
        return compare(z, self.value(x), self.local_error(x, arithmetic), "T1")

    def backward_error(self, z: Array, xh: Array, arithmetic: Arithmetic) -> Measure:
        return compare(self.value(xh), z, self.local_residual(xh, z, arithmetic), "T2")

    @cached_property
    def condition(self) -> float:
        """``|| |A^-1| |F_L| ... |F_1| ||_inf``, Skeel's condition number."""
        rows = self.absolute(np.ones((1, *self.event))).reshape(-1)
        return float((np.abs(self.inverse_matrix) @ rows.astype(np.float64)).max())

    def round_trip_error(self, x: Array, xh: Array, arithmetic: Arithmetic) -> Measure:
        gamma = arithmetic.gamma(self.m) + arithmetic.gamma(self.m + 1)
        inner = gamma * self._size(x) + self._underflow(arithmetic)
        bound = inner.reshape(len(x), -1) @ np.abs(self.inverse_matrix).T
        flat, flat_x = xh.reshape(len(x), -1), x.reshape(len(x), -1)
        ill = too_ill(self.condition, arithmetic.gamma(self.m))
        return compare(flat, flat_x, bound, "T3", self.condition, ill)

    def return_trip_error(self, z: Array, xh: Array, zh: Array, arithmetic: Arithmetic) -> Measure:
        # zh - z = (f(xh) - z) + (zh - f(xh)): T2 and T1 added, both at xh.
        bound = self.local_residual(xh, z, arithmetic) + self.local_error(xh, arithmetic)
        return compare(zh, z, bound, "T2")
