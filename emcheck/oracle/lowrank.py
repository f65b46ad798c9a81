"""The definition of a product of low-rank updates of the identity, inverted by Woodbury."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from emcheck import bounds
from emcheck.bounds import THRESHOLDS, Arithmetic, Measure, compare, too_ill
from emcheck.contract import Event
from emcheck.oracle.linear import LinearDefinition
from emcheck.oracle.precision import EXTENDED, Array, as_extended, matmul, slogdet
from emcheck.oracle.spectrum import singular_extremes


@dataclass(frozen=True)
class LowRankFactor:
    """``M = I + U V`` along some axes of ``(C, H, W)``, ``U (n, d)`` and ``V (d, n)``."""

    u: Array
    v: Array
    axes: tuple[int, ...]

    @property
    def terms(self) -> int:
        """``n + d + 1``: the products and sums that one entry of ``M x`` takes part in."""
        return sum(self.u.shape) + 1

    @cached_property
    def small(self) -> Array:
        """``S = I + V U (d, d)``."""
        return np.asarray(np.eye(len(self.v), dtype=EXTENDED) + matmul(self.v, self.u))

    @cached_property
    def small_inverse(self) -> Array:
        """``S^-1`` by float64 and two steps of Newton's iteration; infinite if S is singular."""
        try:
            found = as_extended(np.linalg.inv(np.asarray(self.small, np.float64)))
        except np.linalg.LinAlgError:
            return np.full_like(self.small, np.inf)
        for _ in range(2):
            found = found + matmul(found, np.eye(len(found)) - matmul(self.small, found))
        return found

    @cached_property
    def small_factors(self) -> tuple[Array, Array]:
        """``L`` and ``R`` of ``S = L R``, rows of ``L`` in the order of S."""
        import scipy.linalg  # a quarter of a second that other definitions do not need

        rows, L, R = scipy.linalg.lu(np.asarray(self.small, np.float64))
        return rows @ L, R

    @cached_property
    def small_error(self) -> Array:
        """Bound the error of a computed and factorised ``S`` in units of ``u``, ``(d, d)``."""
        return bounds.small_system(self.u, self.v, self.small_factors)

    def apply(self, x: Array) -> Array:
        """``M x``."""
        return self._along(x, lambda y: y + matmul(self.u, matmul(self.v, y)))

    def absolute(self) -> LowRankFactor:
        """``I + |U| |V|``."""
        return LowRankFactor(np.abs(self.u), np.abs(self.v), self.axes)

    @cached_property
    def inverse(self) -> LowRankFactor:
        """``M^-1 = I - U S^-1 V``."""
        return LowRankFactor(-self.u, matmul(self.small_inverse, self.v), self.axes)

    def inverse_error(self, y: Array, arithmetic: Arithmetic) -> tuple[Array, Array]:
        """Bound the error of a computed ``M^-1 y``, and ``M`` times that error (T11).

        An error ``E`` of S becomes ``U S^-1 E S^-1 V y``, and ``M U S^-1 = U``.
        """
        back, size = self.inverse, np.abs(y)
        floor = arithmetic.tiny * (1 + np.abs(self.u).sum(axis=1).max())
        once = arithmetic.gamma(self.terms) * back.absolute().apply(size) + self.terms * floor
        right = arithmetic.u * matmul(self.small_error, np.abs(back.v))
        left = matmul(np.abs(self.u), np.abs(self.small_inverse))
        error = once + self._along(size, lambda x: matmul(left, matmul(right, x)))
        residual = self._along(size, lambda x: matmul(np.abs(self.u), matmul(right, x)))
        return error, self.absolute().apply(once) + residual

    @cached_property
    def condition(self) -> float:
        """``cond_2(M)``, from the space that U and V span: elsewhere M is the identity."""
        u, v = (np.asarray(part, np.float64) for part in (self.u, self.v))
        if not (np.isfinite(u).all() and np.isfinite(v).all()):
            return np.inf
        basis = np.linalg.qr(np.concatenate([u, v.T], axis=1))[0]
        inside = np.eye(basis.shape[1]) + (basis.T @ u) @ (v @ basis)
        largest, smallest = singular_extremes(inside)
        if len(inside) < len(u):
            largest, smallest = max(largest, 1.0), min(smallest, 1.0)
        return largest / smallest if smallest > 0 else np.inf

    @property
    def small_condition(self) -> float:
        """``|| |S^-1| E ||_inf`` in units of what one entry of ``M x`` errs by."""
        rows = np.abs(self.small_inverse) @ self.small_error.sum(axis=1)
        return float(rows.max()) / self.terms

    def _along(self, x: Array, act: Callable[[Array], Array]) -> Array:
        """Apply ``act (n, m) -> (n, m)`` to the factor's axes of ``x (B, C, H, W)``."""
        axes = tuple(axis + 1 for axis in self.axes)
        front = np.moveaxis(x, axes, range(len(axes)))
        moved = act(front.reshape(len(self.u), -1))
        return np.asarray(np.moveaxis(moved.reshape(front.shape), range(len(axes)), axes))


@dataclass(frozen=True)
class LowRankLogdet:
    """``sum_k N_k log|det(I + V_k U_k)|`` for factors that act on ``N_k`` vectors (rule T11)."""

    factors: tuple[LowRankFactor, ...]
    counts: tuple[int, ...]
    rule: str = "T11"

    @cached_property
    def _pairs(self) -> list[tuple[float, float]]:
        return [slogdet(factor.small) for factor in self.factors]

    @property
    def value(self) -> float:
        return sum(n * logdet for n, (logdet, _) in zip(self.counts, self._pairs, strict=True))

    @property
    def condition(self) -> float:
        return max(condition for _, condition in self._pairs)

    def bound(self, arithmetic: Arithmetic) -> float:
        return sum(
            bounds.low_rank_logdet(
                np.diagonal(f.small_factors[1]), f.small_inverse, f.small_error, n, arithmetic
            )
            for f, n in zip(self.factors, self.counts, strict=True)
        )


class LowRankDefinition(LinearDefinition):
    """``z = M_L ... M_1 x`` with ``M = I + U V``: forward by T1, the inverse by T11."""

    def __init__(self, factors: Sequence[LowRankFactor], event: Event) -> None:
        n = int(np.prod(event))
        self.parts = tuple(factors)
        rule = LowRankLogdet(self.parts, tuple(n // len(part.u) for part in self.parts))
        super().__init__((), rule, event)
        self.terms = sum(part.terms for part in self.parts)

    def apply(self, x: Array) -> Array:
        for part in self.parts:
            x = part.apply(x)
        return x

    def absolute(self, x: Array) -> Array:
        x = np.abs(x)
        for part in self.parts:
            x = part.absolute().apply(x)
        return x

    @cached_property
    def matrix(self) -> Array:
        """The Kronecker product of the factors, written as one in the order of the axes."""
        out = np.ones((1, 1), dtype=EXTENDED)
        for part in sorted(self.parts, key=lambda part: part.axes):
            M = np.eye(len(part.u), dtype=EXTENDED) + matmul(part.u, part.v)
            out = np.kron(out, M)
        return out

    def _underflow(self, arithmetic: Arithmetic) -> Array:
        """Bound what falls below ``tiny`` in a pass of every factor, pushed through the next."""
        total: Array = np.zeros((1, *self.event), dtype=EXTENDED)
        for part in self.parts:
            inner = 1 + np.abs(part.u).sum(axis=1).max()
            total = part.absolute().apply(total) + part.terms * arithmetic.tiny * inner
        return total

    def local_error(self, x: Array, arithmetic: Arithmetic) -> Array:
        gamma = arithmetic.gamma(self.terms)
        return np.asarray(gamma * self.absolute(x) + self._underflow(arithmetic))

    def _inverse_errors(self, z: Array, arithmetic: Arithmetic) -> tuple[Array, Array]:
        """Bound ``xh - A^-1 z`` and ``A xh - z`` for a computed inverse ``xh`` of ``z`` (T11)."""
        error: Array = np.zeros_like(z)
        residuals = []
        for part in reversed(self.parts):
            own, residual = part.inverse_error(z, arithmetic)
            error = part.inverse.absolute().apply(error) + own
            z = part.inverse.apply(z)
            residuals.append(residual)
        total: Array = np.zeros_like(z)
        for part, residual in zip(self.parts, reversed(residuals), strict=True):
            total = part.absolute().apply(total) + residual
        return error, total

    def local_residual(self, xh: Array, z: Array, arithmetic: Arithmetic) -> Array:
        return THRESHOLDS["T11"] * self._inverse_errors(z, arithmetic)[1]

    @cached_property
    def condition(self) -> float:
        """``cond_2`` of the map, or that of a small system if it is larger."""
        whole = math.prod(part.condition for part in self.parts)
        return max(whole, *(part.small_condition for part in self.parts))

    def _measure(
        self, got: Array, expected: Array, bound: Array, arithmetic: Arithmetic
    ) -> Measure:
        ill = too_ill(self.condition, arithmetic.gamma(max(part.terms for part in self.parts)))
        return compare(got, expected, bound, "T11", self.condition, ill)

    def forward_error(self, x: Array, z: Array, arithmetic: Arithmetic) -> Measure:
        return compare(z, self.value(x), self.local_error(x, arithmetic), "T1")

    def backward_error(self, z: Array, xh: Array, arithmetic: Arithmetic) -> Measure:
        residual = self._inverse_errors(z, arithmetic)[1]
        return self._measure(self.value(xh), z, residual, arithmetic)

    def round_trip_error(self, x: Array, xh: Array, arithmetic: Arithmetic) -> Measure:
        pushed = self.local_error(x, arithmetic)
        for part in reversed(self.parts):
            pushed = part.inverse.absolute().apply(pushed)
        bound = self._inverse_errors(self.value(x), arithmetic)[0] + pushed
        return self._measure(xh, x, bound, arithmetic)

    def return_trip_error(self, z: Array, xh: Array, zh: Array, arithmetic: Arithmetic) -> Measure:
        residual = self._inverse_errors(z, arithmetic)[1]
        bound = residual + self.local_error(xh, arithmetic)
        return self._measure(zh, z, bound, arithmetic)
