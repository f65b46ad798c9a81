"""One subject in one case, with everything that several checks need computed once."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from emcheck import bounds
from emcheck.bounds import THRESHOLDS
from emcheck.checks.calling import call, call_inverse
from emcheck.checks.jacobians import WithJacobians
from emcheck.oracle import (
    as_extended,
)
from emcheck.oracle.precision import Array
from emcheck.oracle.spectrum import inverse_matrix


class Trial(WithJacobians):
    """A built layer with its Jacobians and with error bounds for correct calls."""

    def forward_bound(self, x: Tensor) -> tuple[Array, Array]:
        """Bound the error of a correct ``forward(x)``: z entry by entry, and log-det ``(B,)``."""
        if self.definition is not None:
            X = as_extended(x)
            run = self.definition.running(X, np.zeros_like(X), self.arithmetic)
            return np.broadcast_to(run.error, run.value.shape), run.logdet_error
        z, logdet = call(self.layer, x)
        errors, of_logdet, u = [], [], self.arithmetic
        for n in range(len(x)):
            J = self.jacobian(x[n])
            kappa, ill = self.judgeable(x[n], z[n])
            parts = J, as_extended(x[n]), as_extended(z[n])
            errors.append(bounds.jacobian_forward(*parts, u, self.terms))
            unit = self.jacobian_logdet_unit(len(J), kappa, float(logdet[n]))
            of_logdet.append(math.inf if ill else unit)
        return np.reshape(errors, z.shape), np.array(of_logdet)

    def jacobian_logdet_unit(self, n: int, kappa: float, logdet: float) -> float:
        """Return the bound of rule T9 times its threshold, in ``n`` dimensions."""
        return THRESHOLDS["T9"] * bounds.dense_logdet(n, kappa, 1, logdet, self.arithmetic)

    def inverse_bound(self, xh: Tensor, z: Tensor) -> Array:
        """Bound the error of a correct ``inverse(z)`` near ``xh``, entry by entry.

        It is infinite beyond the largest number of the dtype: a gate or scale has vanished.
        """
        errors = []
        for n in range(len(z)):
            if self.definition is None and not self._can_bound(xh[n], z[n]):
                errors.append(np.full(xh[n].shape, np.inf).reshape(-1))
                continue
            X, Z = as_extended(xh[n : n + 1]), as_extended(z[n : n + 1])
            if self.definition is not None:
                inverse = self.definition.inverse_jacobian(X)
                residual = self.definition.local_residual(X, Z, self.arithmetic)
                size = np.asarray(np.broadcast_to(residual, Z.shape), np.float64).reshape(-1)
            else:
                J = self.jacobian(xh[n])
                inverse = inverse_matrix(J)
                size = bounds.jacobian_forward(J, X, Z, self.arithmetic, self.terms)
            errors.append(np.abs(inverse) @ size)
        bound = np.reshape(
            np.stack([np.asarray(e, np.float64).reshape(-1) for e in errors])
            if errors
            else np.zeros(0),
            xh.shape,
        )
        bound = bound + self.inverse_accuracy
        return np.where(bound <= torch.finfo(xh.dtype).max, bound, np.inf)

    @cached_property
    def inverse_accuracy(self) -> float:
        """How far off an inverse of finite accuracy may be in an entry, 0 for an exact one.

        The slowest sample of a batch may decide when all of them stop, so a sample alone stops
        elsewhere: the bound is several times its error, plus the declared tolerance.
        """
        if self.has("exact_inverse"):
            return 0.0
        layer, x, z = self.new_layer(), self.x, self.forward[0]
        alone = torch.cat([call_inverse(layer, row)[0] for row in z.split(1)]) if len(z) else x
        declared = self.subject.tolerance
        stated = 0.0 if declared is None or callable(declared) else declared
        stated *= bounds.TOLERANCES_OFF * (1 + float(x.abs().max())) if len(x) else 0.0
        off = float((alone - x).abs().max()) if len(x) else 0.0
        return bounds.LAST_STEPS * off + stated if math.isfinite(off) else math.inf

    def _can_bound(self, xh: Tensor, z: Tensor) -> bool:
        """Whether the Jacobian at ``xh`` can bound the error of the inverse."""
        finite = bool(xh.isfinite().all()) and bool(z.isfinite().all())
        return finite and not self.judgeable(xh, z)[1]
