"""A definition given as a function: the user's independent forward in place of a formula."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from emcheck import bounds
from emcheck.bounds import THRESHOLDS, Arithmetic, Measure, compare, too_ill
from emcheck.contract import Event
from emcheck.oracle.definition import Definition, Running
from emcheck.oracle.jacobian import explicit_jacobian
from emcheck.oracle.precision import Array, as_extended, slogdet
from emcheck.oracle.spectrum import condition_number, singular_extremes

#: The reference itself computes in float64.
_U64 = Arithmetic.of(torch.float64).u


class ReferenceDefinition(Definition):
    """``z = f(x)`` by the user's reference code in float64; bounds from its Jacobian.

    The order of operations is unknown: the bounds are those of rules T8 and T9,
    with the rounding unit of float64 added for the reference's own errors.

    Args:
        function: ``x (B, *event)`` in float64 to ``z``, or to ``(z, logdet)``, whose log-det is
            not used: the log-det comes from the explicit Jacobian.
        event: the shape of one sample.
    """

    def __init__(self, function: Callable[[Tensor], Tensor | tuple[Tensor, Tensor]], event: Event):
        self._function = function
        self.event = event

    def _call(self, x: Tensor) -> Tensor:
        answer = self._function(x)
        return answer[0] if isinstance(answer, tuple | list) else answer

    def value(self, x: Array) -> Array:
        with torch.no_grad():
            z = self._call(torch.from_numpy(np.array(x, dtype=np.float64)))
        return as_extended(z)

    def jacobian(self, x: Array) -> Array:
        sample = torch.from_numpy(np.array(x[0], dtype=np.float64))
        return explicit_jacobian(lambda one: (self._call(one), one), sample)

    def tangent(self, x: Array, v: Array) -> Array:
        z = self.value(x)
        moved = self.jacobian(x) @ np.asarray(v, np.float64).reshape(len(v), -1).T
        return np.asarray(moved.T.reshape(len(v), *z.shape[1:]))

    def _wider(self, arithmetic: Arithmetic) -> Arithmetic:
        return Arithmetic(arithmetic.u + _U64, arithmetic.tiny)

    def running(self, x: Array, error: Array, arithmetic: Arithmetic) -> Running:
        z, wider = self.value(x), self._wider(arithmetic)
        error = np.broadcast_to(error, x.shape)
        errors, logdets, of_logdet = [], [], []
        for n in range(len(x)):
            J = self.jacobian(x[n : n + 1])
            pushed = np.abs(J) @ np.asarray(error[n], np.float64).reshape(-1)
            errors.append(bounds.jacobian_forward(J, x[n], z[n], wider) + pushed)
            logdet, kappa = slogdet(J)
            logdets.append(logdet)
            unit = bounds.dense_logdet(len(J), kappa, 1, logdet, wider)
            of_logdet.append(THRESHOLDS["T9"] * unit)
        return Running(z, np.reshape(errors, z.shape), np.array(logdets), np.array(of_logdet))

    def local_residual(self, xh: Array, z: Array, arithmetic: Arithmetic) -> Array:
        wider = self._wider(arithmetic)
        rows = [
            bounds.jacobian_forward(self.jacobian(xh[n : n + 1]), xh[n], z[n], wider)
            for n in range(len(xh))
        ]
        return np.reshape(rows, z.shape)

    def _condition(self, x: Array) -> float:
        return max(
            (condition_number(self.jacobian(x[n : n + 1])) for n in range(len(x))), default=1
        )

    def backward_error(self, z: Array, xh: Array, arithmetic: Arithmetic) -> Measure:
        bound, kappa = self.local_residual(xh, z, arithmetic), self._condition(xh)
        return compare(self.value(xh), z, bound, "RUN", kappa, too_ill(kappa, arithmetic.u))

    def round_trip_error(self, x: Array, xh: Array, arithmetic: Arithmetic) -> Measure:
        z, wider, kappa = self.value(x), self._wider(arithmetic), self._condition(x)
        if too_ill(kappa, arithmetic.u):
            return Measure(np.inf, "RUN", kappa, ill_conditioned=True)
        errors, limits = [], []
        for n in range(len(x)):
            J = self.jacobian(x[n : n + 1])
            flat = [np.asarray(v[n], np.float64).reshape(-1) for v in (x, z)]
            unit = bounds.jacobian_round_trip(*singular_extremes(J), flat[0], flat[1], wider)
            limits.append(THRESHOLDS["T8"] * unit)
            errors.append(float(bounds.norm2(bounds.difference(xh[n : n + 1], x[n : n + 1]))[0]))
        return compare(errors, 0.0, limits, "RUN", kappa)

    def return_trip_error(self, z: Array, xh: Array, zh: Array, arithmetic: Arithmetic) -> Measure:
        run = self.running(xh, np.zeros_like(xh), arithmetic)
        bound = run.error + self.local_residual(xh, z, arithmetic)
        kappa = self._condition(xh)
        return compare(zh, z, bound, "RUN", kappa, too_ill(kappa, arithmetic.u))
