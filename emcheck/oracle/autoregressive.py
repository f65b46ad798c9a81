"""Definition of the affine autoregressive layer: a coupling of every row with those before it."""

from __future__ import annotations

import numpy as np

from emcheck.bounds import Arithmetic, Measure, compare, numerically_singular, too_ill
from emcheck.oracle.network import GatedDefinition
from emcheck.oracle.precision import Array
from emcheck.oracle.spectrum import singular_extremes

#: The Jacobian is inverted in float64.
_FLOAT64 = Arithmetic(2.0**-53, 2.0**-1022)


class AutoregressiveDefinition(GatedDefinition):
    """``z = (x + t(x)) g(x)`` for a network that sees only rows before the own one.

    The inverse computes row after row, each with the network at rows that it has computed itself.
    These are the network's exact input, so the residual is local, as in a coupling, and does not
    grow from row to row. What grows is the error in ``x``: ``J d = e`` to first order.
    """

    def seen(self, x: Array) -> Array:
        return x

    def moved(self, x: Array) -> Array:
        return x

    def joined(self, x: Array, moved: Array) -> Array:
        return moved

    def round_trip_error(self, x: Array, xh: Array, arithmetic: Arithmetic) -> Measure:
        """``|J^-1| e`` for the errors ``e`` of forward and inverse, both in the latent.

        Where a network that is off by this bound moves a gate's argument by 0.1 or more, the first
        order says nothing, and the case is ill-conditioned as well.
        """
        error, _ = self.both_ways(x, arithmetic)
        bound, condition = np.zeros_like(x), 1.0
        for n in range(len(x)):
            J = np.asarray(self.jacobian(x[n : n + 1]), dtype=np.float64)
            largest, smallest = singular_extremes(J)
            if smallest == 0 or numerically_singular(largest, smallest, len(J), _FLOAT64):
                bound[n], condition = np.inf, np.inf
                continue
            size = np.asarray(error[n], np.float64).reshape(-1)
            bound[n] = (np.abs(np.linalg.inv(J)) @ size).reshape(x[n].shape)
            condition = max(condition, largest / smallest)
        moved = float(self._gated(x, bound, arithmetic).h_error.max(initial=0.0))
        ill = too_ill(condition, arithmetic.u) or too_ill(moved, 1.0)
        return compare(xh, x, bound, "RUN", condition, ill)
