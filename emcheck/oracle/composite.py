"""Definitions of composed layers: a chain, and a layer with its directions exchanged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from emcheck.bounds import Arithmetic, Measure, compare, too_ill
from emcheck.oracle.definition import Definition, Running
from emcheck.oracle.precision import Array, as_extended

#: The exact inverse of a definition is computed in float64.
_U64 = float(np.finfo(np.float64).eps) / 2


class ChainDefinition(Definition):
    """``f_L(... f_1(x))``: values compose, log-dets add, errors are propagated."""

    def __init__(self, parts: Sequence[Definition]) -> None:
        self.parts = tuple(parts)
        self.event = parts[0].event
        self.linear = all(part.linear for part in parts)

    def running(self, x: Array, error: Array, arithmetic: Arithmetic) -> Running:
        logdet, logdet_error = np.zeros(len(x)), np.zeros(len(x))
        for part in self.parts:
            run = part.running(x, error, arithmetic)
            x, error = run.value, np.broadcast_to(run.error, run.value.shape)
            logdet = logdet + run.logdet
            logdet_error = logdet_error + run.logdet_error + arithmetic.u * np.abs(logdet)
        return Running(x, error, logdet, logdet_error)

    def tangent(self, x: Array, v: Array) -> Array:
        for part in self.parts:
            x, v = part.value(x), part.tangent(x, v)
        return v

    def local_residual(self, xh: Array, z: Array, arithmetic: Arithmetic) -> Array:
        """Return each part's residual, pushed through the parts after it (first order)."""
        total: Array = np.zeros((1, *self.event))
        for part in self.parts:
            y = part.value(xh)
            residual = part.local_residual(xh, y, arithmetic)
            total = _push(part, xh, total) + residual
            xh = y
        return total

    def backward_error(self, z: Array, xh: Array, arithmetic: Arithmetic) -> Measure:
        bound = self.local_residual(xh, z, arithmetic)
        return self._measure(self.value(xh), z, bound, xh, arithmetic)

    def _measure(
        self, got: Array, expected: Array, bound: Array, x: Array, arithmetic: Arithmetic
    ) -> Measure:
        condition = max((_condition(self.jacobian(x[i : i + 1])) for i in range(len(x))), default=1)
        return compare(got, expected, bound, "RUN", condition, too_ill(condition, arithmetic.u))

    def round_trip_error(self, x: Array, xh: Array, arithmetic: Arithmetic) -> Measure:
        """``sum_l |J_{1..l}^-1| (e_l + r_l)``: each part's forward error and residual."""
        measures = [Measure(0.0, "RUN", 1.0)]
        for sample in range(len(x)):
            bound, own = self._round_trip_bound(x[sample : sample + 1], arithmetic)
            got, expected = (v[sample].reshape(-1) for v in (xh, x))
            measures.append(compare(got, expected, bound, "RUN", own))
        condition = max(measure.condition for measure in measures)
        worst = max(measures, key=lambda measure: measure.ratio)
        ill = too_ill(condition, arithmetic.u)
        return replace(worst, condition=condition, ill_conditioned=ill)

    def _round_trip_bound(self, x: Array, arithmetic: Arithmetic) -> tuple[Array, float]:
        J = np.eye(x.size)
        bound, y = np.zeros(x.size), x
        for part in self.parts:
            run = part.running(y, np.zeros_like(y), arithmetic)
            residual = part.local_residual(y, run.value, arithmetic)
            J = np.asarray(part.jacobian(y), dtype=np.float64) @ J
            local = np.broadcast_to(run.error, run.value.shape) + residual
            bound = bound + np.abs(_inverse(J)) @ np.asarray(local, np.float64).reshape(-1)
            y = run.value
        return bound, _condition(J)

    def return_trip_error(self, z: Array, xh: Array, zh: Array, arithmetic: Arithmetic) -> Measure:
        forward = self.running(xh, np.zeros_like(xh), arithmetic).error
        bound = forward + self.local_residual(xh, z, arithmetic)
        return self._measure(zh, z, bound, xh, arithmetic)


def _condition(J: Array) -> float:
    """The 2-norm condition number, infinite for a matrix that is not finite."""
    narrow = np.asarray(J, dtype=np.float64)
    return float(np.linalg.cond(narrow)) if np.isfinite(narrow).all() else np.inf


def _push(part: Definition, x: Array, error: Array) -> Array:
    """``|J(x)| error`` sample by sample."""
    error = np.broadcast_to(error, x.shape)
    if not error.any():
        return np.zeros(1)
    rows = []
    for sample in range(len(x)):
        J = np.abs(part.jacobian(x[sample : sample + 1]))
        rows.append(J @ error[sample].reshape(-1))
    out = part.value(x[:1]).shape[1:]
    return np.stack(rows).reshape(len(x), *out)


def _inverse(J: Array) -> Array:
    try:
        return np.linalg.inv(J)
    except np.linalg.LinAlgError:
        return np.full_like(J, np.inf)


class InverseDefinition(Definition):
    """``f^-1`` for a definition ``f``: its forward is the inverse of ``f``."""

    def __init__(self, inner: Definition) -> None:
        self.inner = inner
        self.event = inner.event
        self.linear = inner.linear

    def running(self, x: Array, error: Array, arithmetic: Arithmetic) -> Running:
        """Invert a linear map exactly, by a float64 solve and two steps of refinement."""
        if not self.inner.linear:
            raise NotImplementedError("the inverse of a nonlinear definition has no closed form")
        J = np.asarray(self.inner.jacobian(np.zeros((1, *self.event))), dtype=np.float64)
        y = self._solve(J, x)
        residual = np.asarray(self.inner.local_residual(y, x, arithmetic), np.float64)
        residual = np.broadcast_to(residual + np.abs(error), x.shape).reshape(len(x), -1)
        bound = (residual @ np.abs(_inverse(J)).T).reshape(x.shape)
        inner = self.inner.running(y, np.zeros_like(y), arithmetic)
        return Running(y, bound, -inner.logdet, inner.logdet_error)

    def _solve(self, J: Array, x: Array) -> Array:
        y = np.zeros_like(as_extended(x))
        for _ in range(3):
            residual = np.asarray(x - self.inner.value(y), np.float64).reshape(len(x), -1)
            y = y + np.linalg.solve(J, residual.T).T.reshape(x.shape)
        return y

    def tangent(self, x: Array, v: Array) -> Array:
        J = np.asarray(self.inner.jacobian(x), dtype=np.float64)
        columns = np.asarray(v, np.float64).reshape(len(v), -1).T
        return np.linalg.solve(J, columns).T.reshape(v.shape)

    def jacobian_uncertainty(self, x: Array) -> float:
        """``n kappa u ||J^-1||``: the normwise error of the dense solve behind ``tangent``."""
        J = np.asarray(self.inner.jacobian(x), dtype=np.float64)
        return float(len(J) * _condition(J) * _U64 * np.linalg.norm(_inverse(J)))

    def value(self, x: Array) -> Array:
        return self.running(x, np.zeros_like(x), Arithmetic(0.0, 0.0)).value

    def local_residual(self, xh: Array, z: Array, arithmetic: Arithmetic) -> Array:
        """Return the inner forward error at ``z``, pushed through the inverse (first order)."""
        error = self.inner.running(z, np.zeros_like(z), arithmetic).error
        return _push(self, xh, error)

    def logdet_error(self, x: Array, logdet: Array, arithmetic: Arithmetic) -> Measure:
        return self.inner.logdet_error(x, -logdet, arithmetic)

    def forward_error(self, x: Array, z: Array, arithmetic: Arithmetic) -> Measure:
        return self.inner.backward_error(x, z, arithmetic)

    def backward_error(self, z: Array, xh: Array, arithmetic: Arithmetic) -> Measure:
        return self.inner.forward_error(z, xh, arithmetic)

    def round_trip_error(self, x: Array, xh: Array, arithmetic: Arithmetic) -> Measure:
        y = self.value(x)
        bound = self.inner.local_residual(y, x, arithmetic)
        bound = bound + self.inner.running(y, np.zeros_like(y), arithmetic).error
        condition = _condition(self.inner.jacobian(y[:1]))
        return compare(xh, x, bound, "RUN", condition, too_ill(condition, _U64))

    def return_trip_error(self, z: Array, xh: Array, zh: Array, arithmetic: Arithmetic) -> Measure:
        return self.inner.round_trip_error(z, zh, arithmetic)
