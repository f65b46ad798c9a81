"""Inverses that stop at a tolerance: judged by the declared one and the effect of tightening."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from emcheck import bounds
from emcheck.bounds import Measure, compare
from emcheck.checks.calling import call, call_inverse
from emcheck.checks.core import check, worst
from emcheck.checks.trial import Trial
from emcheck.checks.values import not_finite
from emcheck.known import Clause
from emcheck.oracle import as_extended

#: Tolerances that are set in turn, the loosest first.
TOLERANCES = {torch.float32: (1e-2, 1e-4), torch.float64: (1e-2, 1e-5, 1e-8)}


@check("values", Clause.INVERSE, "inverse", "tolerance")
def inverse_meets_its_tolerance(trial: Trial) -> Measure:
    """``inverse`` is as accurate as its tolerance says, in ``x`` or ``z`` (clause 4; rule TOL)."""
    unusable = not_finite(trial, trial.x, trial.forward[0])
    return unusable or worst(*measured(trial))


def measured(trial: Trial) -> Iterator[Measure]:
    """Yield one measure for each tolerance and sample.

    The error at the loosest tolerance, if the rule allows it, says by how many tolerances this
    layer is off; at a tighter one it must not be off by many more.
    """
    declared = trial.subject.tolerance
    if not callable(declared):
        assert declared is not None
        yield from _at(trial, inverted(trial, None), declared, bounds.TOLERANCES_OFF)
        return
    most = bounds.TOLERANCES_OFF
    for tolerance in TOLERANCES[trial.case.dtype]:
        found = list(_at(trial, inverted(trial, tolerance), tolerance, most))
        yield from found
        seen = max((m.got / tolerance for m in found if math.isfinite(m.got)), default=0.0)
        most = min(max(most, bounds.TOLERANCES_OFF * seen), bounds.MOST_TOLERANCES_OFF)


def inverted(trial: Trial, tolerance: float | None) -> Tensor:
    """Return ``inverse(forward(x))`` of a new layer, at ``tolerance`` if it is given."""
    layer, declared = trial.new_layer(), trial.subject.tolerance
    if tolerance is not None:
        assert callable(declared)
        declared(layer, tolerance)
    return call_inverse(layer, trial.forward[0].clone())[0].detach()


def _at(trial: Trial, xh: Tensor, tolerance: float, most: float) -> Iterator[Measure]:
    """Judge each sample by the smaller of its two relative errors, in ``x`` and in ``z``."""
    x, z = trial.x, trial.forward[0]
    if not bool(xh.isfinite().all()):
        yield Measure(math.inf, "TOL", detail=f"not finite at tolerance {tolerance:g}")
        return
    zh = call(trial.new_layer(), xh)[0]
    for n in range(len(x)):
        J = trial.jacobian(x[n])
        flat = [as_extended(v[n]).reshape(-1) for v in (x, z, xh, zh)]
        rounding = bounds.jacobian_forward(J, flat[0], flat[1], trial.arithmetic)
        size_x, size_z = (1 + float(np.abs(v).max()) for v in flat[:2])
        in_x = float(np.abs(bounds.difference(flat[2], flat[0])).max()) / size_x
        off = np.abs(bounds.difference(flat[3], flat[1])) - rounding
        in_z = max(float(off.max()), 0.0) / size_z
        told = f"at tolerance {tolerance:g}: {in_x:.2g} of x, {in_z:.2g} of z"
        yield compare(min(in_x, in_z), 0.0, most * tolerance, "TOL", detail=told)
