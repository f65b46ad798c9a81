"""End to end: the density that a layer defines integrates to one."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from emcheck.bounds import QUADRATURE, Measure, compare, too_ill
from emcheck.checks.calling import call, call_inverse
from emcheck.checks.case import Case, Subject
from emcheck.checks.core import Unsupported, check
from emcheck.checks.trial import Trial
from emcheck.known import Clause
from emcheck.oracle import condition_number
from emcheck.oracle.precision import Array

#: Trapezoid rule per dimension in standard deviations; see ``bounds.QUADRATURE``. Compared with the
#: mode, a coupling stretches the last axis by up to 3 and shrinks it by up to 6.
_REACH, _SPACING = {True: 6.75, False: 40.5}, {True: 0.75, False: 0.25}

#: The number of grid points is exponential in the dimension: 19^4 and 325^2 are about 1e5.
_MOST_DIMENSIONS = {True: 4, False: 2}


def _tiny_event(case: Case, subject: Subject) -> Case:
    """Return a well-conditioned case of two entries if possible (four for a squeeze by two)."""
    m = subject.multiple(case)
    options = dict(case.options)
    if m > 2:
        options["factor"] = m = 2
    C = subject.fewest_channels(case)
    if subject.any_channels and m == 1:
        C = max(C, 2 - case.seed % 2)
    if not subject.any_size or len(case.event) != 3:
        return replace(case, dtype=torch.float64, scale="unit", batch=1)
    wide = 2 if C == 1 and m == 1 else m
    moved = replace(case, event=(C, m, wide), dtype=torch.float64, style="trained", scale="unit")
    return replace(moved, options=options, batch=1)


@check("density", Clause.LOGDET, "definition", "exact_inverse", "exact_logdet", adapt=_tiny_event)
def density_integrates_to_one(trial: Trial) -> Measure:
    """``integral N(f(x)) |det J(x)| dx = 1`` on a tiny event, by the trapezoid rule.

    The grid is ``x = x0 + J^-1 u`` with the Jacobian at the mode, whose volume NumPy computes:
    the log-det under test enters only through the density. For fixed first coordinates a
    coupling is affine in the others, so its kinks do not harm the rule.
    """
    assert trial.definition is not None
    linear = trial.definition.linear
    n = math.prod(trial.case.event)
    if n > _MOST_DIMENSIONS[linear]:
        raise Unsupported(f"a grid in {n} dimensions is too large")
    origin = torch.zeros_like(trial.forward[0][:1])
    centre, _ = call_inverse(trial.layer, origin)
    J = trial.jacobian(centre[0])
    kappa = condition_number(J)
    if too_ill(kappa, trial.arithmetic.u):
        return Measure(np.inf, "QUAD", kappa, ill_conditioned=True)
    reach, spacing = _REACH[linear], _SPACING[linear]
    total = total_mass(trial.layer, centre, J, reach, spacing)
    return compare(total, 1.0, QUADRATURE, "QUAD", kappa)


def total_mass(layer: nn.Module, centre: Tensor, J: Array, reach: float, spacing: float) -> float:
    """Integrate the layer's density over the grid ``x = centre + J^-1 u``.

    Args:
        layer: ``forward(x) -> (z, logdet)``, with standard normal ``z``.
        centre: ``(1, *event)``, the centre of the grid.
        J: the Jacobian there; ``u`` is about standard normal.
        reach, spacing: those of ``u`` in each dimension.
    """
    n = len(J)
    axis = np.arange(-reach, reach + spacing / 2, spacing)
    u = np.stack(np.meshgrid(*[axis] * n, indexing="ij"), axis=-1).reshape(-1, n)
    x = torch.from_numpy(np.linalg.solve(J, u.T).T.copy()).to(centre)
    z, logdet = call(layer, x.reshape(-1, *centre.shape[1:]) + centre)
    log_density = -0.5 * z.flatten(1).square().sum(dim=1) - 0.5 * n * math.log(2 * math.pi)
    log_volume = n * math.log(spacing) - float(np.linalg.slogdet(J)[1])
    return float((log_density + logdet + log_volume).exp().sum())
