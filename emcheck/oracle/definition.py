"""What a layer is supposed to compute, for the checks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from emcheck.bounds import Arithmetic, Measure, compare
from emcheck.contract import Event
from emcheck.oracle.precision import EXTENDED, Array
from emcheck.oracle.spectrum import inverse_matrix


@dataclass(frozen=True)
class Running:
    """A value with a bound on its rounding error, entry by entry; a log-det with its own."""

    value: Array  # (B, *event_out)
    error: Array  # (B, *event_out)
    logdet: Array  # (B,)
    logdet_error: Array  # (B,)


class Definition(ABC):
    """The exact map ``z = f(x)`` of a layer at its present parameters, in NumPy.

    It is independent of the layer's code. ``running`` carries a first-order rounding bound
    along with the value; the ``*_error`` methods measure a computed result against it.
    """

    event: Event
    linear: bool = False

    @abstractmethod
    def running(self, x: Array, error: Array, arithmetic: Arithmetic) -> Running:
        """Return ``f(x)``, given that the layer sees ``x`` with an uncertainty of ``error``."""

    @abstractmethod
    def tangent(self, x: Array, v: Array) -> Array:
        """Return ``J(x) v`` for one sample ``x (1, C, H, W)`` and directions ``v (K, C, H, W)``."""

    @abstractmethod
    def local_residual(self, xh: Array, z: Array, arithmetic: Arithmetic) -> Array:
        """Bound ``|f(xh) - z|``, entry by entry, for a computed inverse ``xh`` of ``z``."""

    @abstractmethod
    def backward_error(self, z: Array, xh: Array, arithmetic: Arithmetic) -> Measure:
        """Measure ``f(xh) - z`` for a computed inverse ``xh`` of ``z``."""

    @abstractmethod
    def round_trip_error(self, x: Array, xh: Array, arithmetic: Arithmetic) -> Measure:
        """Measure ``xh - x`` for ``xh = inverse(forward(x))``."""

    @abstractmethod
    def return_trip_error(self, z: Array, xh: Array, zh: Array, arithmetic: Arithmetic) -> Measure:
        """Measure ``zh - z`` for ``xh = inverse(z)`` and ``zh = forward(xh)``."""

    def value(self, x: Array) -> Array:
        """Return ``f(x)`` in extended precision."""
        return self.running(x, np.zeros_like(x), Arithmetic(0.0, 0.0)).value

    def logdet(self, x: Array) -> Array:
        """Return ``log|det J(x)|``, ``(B,)``."""
        return self.running(x, np.zeros_like(x), Arithmetic(0.0, 0.0)).logdet

    def forward_error(self, x: Array, z: Array, arithmetic: Arithmetic) -> Measure:
        """Measure ``z - f(x)`` for a computed ``z``."""
        run = self.running(x, np.zeros_like(x), arithmetic)
        return compare(z, run.value, run.error, "RUN")

    def logdet_error(self, x: Array, logdet: Array, arithmetic: Arithmetic) -> Measure:
        """Measure ``logdet - log|det J(x)|`` for a computed ``logdet (B,)``."""
        run = self.running(x, np.zeros_like(x), arithmetic)
        return compare(logdet, run.logdet, run.logdet_error, "RUN")

    def jacobian_uncertainty(self, x: Array) -> float:
        """Bound the error of the entries of ``jacobian(x)`` itself; 0 where they are exact."""
        return 0.0

    def jacobian(self, x: Array) -> Array:
        """Return the dense ``J(x)``, ``(n_out, n_in)``, for one sample ``x (1, C, H, W)``."""
        n = int(np.prod(self.event))
        basis = np.eye(n, dtype=EXTENDED).reshape(n, *self.event)
        return self.tangent(x, basis).reshape(n, -1).T

    def inverse_jacobian(self, x: Array) -> Array:
        """Return ``J(x)^-1`` in float64, ``(n, n)``; infinite entries if singular."""
        return inverse_matrix(self.jacobian(x))
