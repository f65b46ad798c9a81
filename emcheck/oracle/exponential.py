"""The exponential of a convolution, in extended precision, with bounds entry by entry."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from emcheck.bounds import EXPONENTIAL_TERMS, Arithmetic, Measure, compare, too_ill
from emcheck.contract import Event
from emcheck.oracle.linear import LinearDefinition
from emcheck.oracle.logdets import DiagonalLogdet
from emcheck.oracle.matrices import ConvFactor
from emcheck.oracle.precision import EXTENDED, Array, matmul
from emcheck.oracle.spectrum import condition_number, inverse_matrix

#: Terms of a series of norm 1 or less in extended precision: ``1 / 26! < 2^-88``.
_ENOUGH = 25

#: Up to this many rows a bound uses the dense powers of a step; beyond, absolute values.
_MOST_DENSE = 512


class ExponentialDefinition(LinearDefinition):
    """``z = exp(M) x`` for a zero-padded convolution, or its series up to ``M^terms`` (T10).

    Values come from shifted sums in steps of norm 1, the dense ``matrix`` from the index formula
    by squaring.
    """

    def __init__(self, weight: Array, event: Event, terms: int | None = None) -> None:
        weight, r = _reachable(weight, event), weight.shape[-1] // 2
        centre = np.diagonal(weight[:, :, r, r])
        super().__init__([ConvFactor(weight)], DiagonalLogdet(centre, event[1] * event[2]), event)
        self.terms = terms
        self.there, self.back = (_Series(sign * weight, event, terms) for sign in (1, -1))

    def apply(self, x: Array) -> Array:
        return self.there.apply(x)

    def absolute(self, x: Array) -> Array:
        return self.there.pushed(np.abs(x), self.there.steps)

    @cached_property
    def matrix(self) -> Array:
        """The dense matrix, ``(n, n)``, by another way than ``apply``."""
        return self.there.matrix

    def jacobian(self, x: Array) -> Array:
        return self.matrix

    @cached_property
    def inverse_matrix(self) -> Array:
        return inverse_matrix(self.there.powers[-1])

    @cached_property
    def condition(self) -> float:
        """The condition number of the map, where its matrix is large a bound of it."""
        if int(np.prod(self.event)) > _MOST_DENSE:
            return float(np.exp(2 * self.there.norm))
        return condition_number(self.there.powers[-1])

    def local_error(self, x: Array, arithmetic: Arithmetic) -> Array:
        return self.there.error(x, arithmetic)

    def local_residual(self, xh: Array, z: Array, arithmetic: Arithmetic) -> Array:
        rounding = self.there.pushed(self.back.error(z, arithmetic), self.there.steps)
        if self.terms is None:
            return rounding
        return rounding + np.abs(self.apply(self.back.apply(z)) - z)

    def forward_error(self, x: Array, z: Array, arithmetic: Arithmetic) -> Measure:
        return compare(z, self.value(x), self.local_error(x, arithmetic), "T10")

    def backward_error(self, z: Array, xh: Array, arithmetic: Arithmetic) -> Measure:
        bound = self.local_residual(xh, z, arithmetic)
        return compare(self.value(xh), z, bound, "T10", self.condition)

    def round_trip_error(self, x: Array, xh: Array, arithmetic: Arithmetic) -> Measure:
        # xh - exp(-M) z = own error, and z - exp(M) x = that of forward, brought back.
        z = self.value(x)
        forward = self.back.pushed(self.local_error(x, arithmetic), self.back.steps)
        bound = forward + self.back.error(z, arithmetic)
        if self.terms is not None:
            bound = bound + np.abs(self.back.apply(z) - x)
        ill = too_ill(self.condition, arithmetic.u)
        return compare(xh, x, bound, "T10", self.condition, ill)

    def return_trip_error(self, z: Array, xh: Array, zh: Array, arithmetic: Arithmetic) -> Measure:
        # zh - z = (f(xh) - z) + (zh - f(xh)), the second at xh.
        bound = self.local_residual(xh, z, arithmetic) + self.local_error(xh, arithmetic)
        return compare(zh, z, bound, "T10", self.condition)


class _Series:
    """``exp(M)`` as ``p`` steps ``exp(S)`` with ``S = M / p``, or one series up to ``M^terms``."""

    def __init__(self, weight: Array, event: Event, terms: int | None) -> None:
        sizes = np.abs(weight)
        sums = [sizes.sum(axis=axes).max() for axes in ((1, 2, 3), (0, 2, 3))]
        self.norm, self.by_columns = float(min(sums)), bool(sums[1] < sums[0])
        self.event, self.weight = event, weight
        self.steps = 1 if terms is not None else max(int(np.ceil(self.norm)), 1)
        self.terms = terms
        self.step = ConvFactor(weight / self.steps)

    def apply(self, x: Array) -> Array:
        for _ in range(self.steps):
            x = self._one(self.step, x)
        return x

    def _one(self, factor: ConvFactor, x: Array) -> Array:
        """Return the series of one step by ``factor``."""
        total = term = x
        for j in range(1, (self.terms or _ENOUGH) + 1):
            term = factor.apply(term) / j
            total = total + term
        return total

    @cached_property
    def matrix(self) -> Array:
        """The dense matrix in extended precision: Horner's rule at norm 1/8, then squaring."""
        M = self.step.matrix(self.event)
        one, halvings = np.eye(len(M), dtype=EXTENDED), 0
        if self.terms is None:
            M, halvings = ConvFactor(self.weight).matrix(self.event), 0
            while self.norm > 2.0 ** (halvings - 3):
                halvings += 1
            M = M / 2**halvings
        out = one
        for j in range(self.terms or 14, 0, -1):
            out = one + matmul(M, out) / j
        for _ in range(halvings):
            out = matmul(out, out)
        return out

    @cached_property
    def powers(self) -> list[Array]:
        """``E^j`` in float64 for the matrix ``E`` of one step, ``j = 0 ... p``."""
        S = np.asarray(self.step.matrix(self.event), dtype=np.float64)
        E = one = np.eye(len(S))
        for j in range(self.terms or _ENOUGH, 0, -1):
            E = one + S @ E / j
        powers = [one]
        for _ in range(self.steps):
            powers.append(powers[-1] @ E)
        return powers

    def pushed(self, error: Array, steps: int) -> Array:
        """Return ``|E^steps| error``; with many rows the larger ``exp(steps |S|) error``."""
        if int(np.prod(self.event)) <= _MOST_DENSE:
            flat = error.reshape(len(error), -1) @ np.abs(self.powers[steps]).T
            return np.asarray(flat.reshape(error.shape))
        for _ in range(steps):
            error = self._one(self.step.absolute(), error)
        return error

    def error(self, x: Array, arithmetic: Arithmetic) -> Array:
        """Bound the rounding error of the layer, entry by entry (rule T10)."""
        m, q = self.terms or EXPONENTIAL_TERMS, self.step.nonzeros()
        absolute, total = self.step.absolute(), np.zeros_like(np.asarray(x, dtype=EXTENDED))
        for i in range(self.steps):
            y = self._one(self.step, x)
            size = arithmetic.u * (m * np.abs(x) + (q + 2) * absolute.apply(np.abs(x)))
            local = self._one(absolute, size + m * (q + 3) * arithmetic.tiny)
            if self.terms is None:
                local = local + arithmetic.u * self._left_out(y)
            total = total + self.pushed(local, self.steps - 1 - i)
            x = y
        return np.asarray(total)

    def _left_out(self, y: Array) -> Array:
        """Return ``theta / (m + 1) ||y||`` of each sample: what the series leaves out, over u."""
        flat = np.abs(y.reshape(len(y), -1))
        norm = flat.sum(axis=1) if self.by_columns else flat.max(axis=1, initial=0.0)
        share = self.norm / self.steps / (EXPONENTIAL_TERMS + 1)
        return np.asarray(share * norm[:, None, None, None])


def _reachable(weight: Array, event: Event) -> Array:
    """Return a copy without the taps that reach no other pixel of the image."""
    r, (_, H, W) = weight.shape[-1] // 2, event
    offsets = np.abs(np.arange(weight.shape[-1]) - r)
    return np.where((offsets[:, None] < H) & (offsets[None, :] < W), weight, 0)
