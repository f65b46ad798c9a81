"""Values: forward and inverse against the definition and against each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from emcheck import bounds
from emcheck.bounds import Measure
from emcheck.checks.calling import call, call_inverse
from emcheck.checks.case import Case, Subject
from emcheck.checks.core import OUTSIDE, Unsupported, check, ill_conditioned, worst
from emcheck.checks.logdets import logdet_matches_definition
from emcheck.checks.trial import Trial
from emcheck.known import Clause
from emcheck.oracle import as_extended
from emcheck.specs.core import Trait


@check("values", Clause.INVERSE, "exact_inverse")
def inverse_undoes_forward(trial: Trial) -> Measure:
    """``inverse(forward(x)) = x`` (clause 4; rules T3, T5, T7, T8)."""
    if trial.definition is None:
        z = trial.forward[0]
        unusable = not_finite(trial, trial.x, z)
        return unusable or jacobian_round_trip(trial, trial.x, z, trial.back[0])
    return trial.definition.round_trip_error(
        as_extended(trial.x), as_extended(trial.back[0]), trial.arithmetic
    )


@check("values", Clause.INVERSE, "exact_inverse")
def forward_undoes_inverse(trial: Trial) -> Measure:
    """``forward(inverse(z)) = z`` on separate deep copies, so that no cache can help (clause 4)."""
    z = trial.latent
    if trial.definition is None:
        unusable = not_finite(trial, trial.preimage, z)
        if unusable is not None:
            return unusable
    xh, _ = call_inverse(trial.new_layer(), z)
    zh, _ = call(trial.new_layer(), xh)
    if trial.definition is None:
        return _return_trip(trial, z, xh, zh)
    Z, XH, ZH = (as_extended(v) for v in (z, xh, zh))
    return trial.definition.return_trip_error(Z, XH, ZH, trial.arithmetic)


@check("values", Clause.DEFINITION, "definition")
def forward_matches_definition(trial: Trial) -> Measure:
    """``forward(x)`` equals the definition (rules T1, T5, T7; running error if nonlinear)."""
    assert trial.definition is not None
    z, _ = trial.forward
    return trial.definition.forward_error(as_extended(trial.x), as_extended(z), trial.arithmetic)


@check("values", Clause.INVERSE, "definition", "exact_inverse")
def inverse_backward_error(trial: Trial) -> Measure:
    """The definition maps ``inverse(z)`` back to ``z`` (rules T2, T5, T7; running error)."""
    assert trial.definition is not None
    xh, _ = call_inverse(trial.layer, trial.latent)
    z = as_extended(trial.latent)
    return trial.definition.backward_error(z, as_extended(xh), trial.arithmetic)


def _corner_sizes(case: Case, subject: Subject) -> Case:
    return replace(case, style="trained", scale="unit")


@check("values", Clause.INVERSE, "definition", adapt=_corner_sizes)
def degenerate_sizes(trial: Trial) -> Measure:
    """1x1, 1xW, Hx1 images, kernels larger than the image, and one channel work (clause 4)."""
    case, m = trial.case, trial.subject.multiple(trial.case)
    if not trial.subject.any_size or len(case.event) != 3:
        raise Unsupported("the sizes that this layer allows are not known")
    fewest = trial.subject.fewest_channels(case)
    measures = []
    for C, H, W in ((case.event[0], 1, 1), (case.event[0], 1, 5), (fewest, 4, 1), (fewest, 2, 3)):
        corner = Trial(trial.subject, replace(case, event=(C, H * m, W * m)))
        measures.append(forward_matches_definition(corner))
        if trial.has("exact_logdet"):
            measures.append(logdet_matches_definition(corner))
        if trial.has("exact_inverse"):
            measures.append(inverse_backward_error(corner))
    return worst(*measures)


def _reach_of_dtype(case: Case, subject: Subject) -> Case:
    scale = "huge" if case.seed % 2 else "tiny"
    return replace(case, scale=scale, style="trained")


@check("values", Clause.INVERSE, Trait.LINEAR, house=True, adapt=_reach_of_dtype)
def extreme_scales(trial: Trial) -> Measure:
    """Data near overflow or below the smallest normal number give right values (linear layers)."""
    forward = forward_matches_definition(trial)
    if not trial.has("exact_inverse"):
        return forward
    return worst(forward, inverse_backward_error(trial))


#: Parameters are scaled by this power of two: products of a few of them overflow or underflow.
_PARAMETER_SCALE = {torch.float32: 60, torch.float64: 500}


def _ordinary_data(case: Case, subject: Subject) -> Case:
    return replace(case, scale="unit", style="trained")


@check("values", Clause.INVERSE, "rescale", "exact_inverse", house=True, adapt=_ordinary_data)
def extreme_parameters(trial: Trial) -> Measure:
    """Parameters whose determinant or squared length leaves the range give right results."""
    spec, case = trial.subject.spec, trial.case
    assert spec is not None
    assert spec.rescale is not None
    exponent = _PARAMETER_SCALE[case.dtype] * (1 if case.seed % 2 else -1)
    spec.rescale(trial.subject.unwrap(trial.layer), 2.0**exponent)
    measures = (forward_matches_definition(trial), inverse_backward_error(trial))
    return worst(*measures, logdet_matches_definition(trial))


def jacobian_round_trip(
    trial: Trial, x: Tensor, z: Tensor, xh: Tensor, inverse: bool = False
) -> Measure:
    """Apply rule T8 to a layer without a definition; ``inverse`` exchanges the directions.

    A sample that is too ill-conditioned excuses no other one.
    """
    judged, ill = [], []
    for n in range(len(x)):
        kappa, too_ill = trial.judgeable(x[n], z[n], inverse)
        if too_ill:
            ill.append(ill_conditioned("T8", kappa, "the layer saturates" if x[n].any() else ""))
            continue
        largest, smallest = trial.singular_extremes(x[n], inverse=inverse)
        flat = [as_extended(v[n]).reshape(-1) for v in (x, z, xh)]
        bound = bounds.jacobian_round_trip(largest, smallest, flat[0], flat[1], trial.arithmetic)
        error = np.sqrt((bounds.difference(flat[2], flat[0]) ** 2).sum())
        judged.append(bounds.compare(error, 0.0, bound, "T8", kappa))
    found = judged or ill
    return worst(*found) if found else Measure(0.0, "T8", 1.0)


def _return_trip(trial: Trial, z: Tensor, xh: Tensor, zh: Tensor) -> Measure:
    """Judge the trip from the latent and back, unless the layer saturates at its preimage."""
    measures = []
    for n in range(len(z)):
        here = slice(n, n + 1)
        kappa, too_ill = trial.judgeable(trial.preimage[n], z[n])
        if too_ill:
            measures.append(ill_conditioned("T8", kappa, "the layer saturates"))
        elif not bool(xh[n].isfinite().all()):
            told = "the inverse of an image is not finite"
            measures.append(Measure(np.inf, "T8", kappa, detail=told))
        else:
            measures.append(jacobian_round_trip(trial, z[here], xh[here], zh[here], inverse=True))
    judged = [measure for measure in measures if not measure.ill_conditioned]
    found = judged or measures
    return worst(*found) if found else Measure(0.0, "T8", 1.0)


def not_finite(trial: Trial, x: Tensor, z: Tensor) -> Measure | None:
    """Return a measure if ``z = forward(x)`` is not finite; None if any sample can be judged.

    At initial parameters and ordinary data it is a FAIL: the layer does not take the data. So it is
    where float64 gives an ordinary number that float32 could hold. Anything else is outside the
    domain of the parameters or of the data.
    """
    fine = z.isfinite().reshape(len(z), -1).all(dim=1)
    if bool(fine.all()):
        return None
    bad = int((~z.isfinite()).sum())
    if trial.case.dtype != trial.widest:
        wide = trial.reference(x)[0]
        lost = (~z.isfinite()) & wide.isfinite() & (wide.abs() < torch.finfo(z.dtype).max / 2)
        if bool(lost.any()):
            told = f"forward leaves the range of {trial.case.dtype_name} in {int(lost.sum())} of "
            told += f"{z.numel()} entries; in float64 they are ordinary numbers"
            got, expected = float(z[lost][0]), float(wide[lost][0])
            return Measure(np.inf, "T8", detail=told, got=got, expected=expected, bound=0.0)
    if trial.case.style == "initial" and trial.case.scale == "unit":
        told = f"forward is not finite in {bad} of {z.numel()} entries, at initial parameters"
        return Measure(np.inf, "T8", detail=told)
    return None if bool(fine.any()) else ill_conditioned("T8", np.inf, OUTSIDE)
