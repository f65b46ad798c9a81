"""Log-dets: against explicit Jacobians, against the definition, and against each other."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from emcheck import bounds
from emcheck.bounds import THRESHOLDS, Measure, numerically_singular, too_ill
from emcheck.checks.calling import call_inverse
from emcheck.checks.case import Case, Subject
from emcheck.checks.core import (
    OUTSIDE,
    agree,
    check,
    ill_conditioned,
    worst,
)
from emcheck.checks.trial import Trial
from emcheck.known import Clause
from emcheck.oracle import as_extended, singular_extremes, slogdet
from emcheck.oracle.precision import Array


def _small_if_ill(case: Case, subject: Subject) -> Case:
    """Return a small case if it is ill-conditioned: multi-precision elimination costs n^3."""
    if case.style != "ill":
        return case
    return subject.clip(case, 3, 3)


@check("logdet", Clause.LOGDET, "exact_logdet", adapt=_small_if_ill)
def logdet_matches_jacobian(trial: Trial) -> Measure:
    """``forward`` returns log|det| of its explicit Jacobian (clause 3; rule T9)."""
    z, logdet = trial.forward
    return against_jacobian(trial, trial.x, z, logdet, inverse=False)


@check("logdet", Clause.LOGDET, "inverse_logdet", "exact_logdet", adapt=_small_if_ill)
def inverse_logdet_matches_jacobian(trial: Trial) -> Measure:
    """``inverse`` returns log|det| of the inverse's explicit Jacobian (clause 3; rule T9)."""
    z = trial.latent
    xh, logdet = call_inverse(trial.layer, z)
    if not trial.subject.is_defined and z[0].numel() <= bounds.MOST_EXPLICIT:
        return _of_unknown_inverse(trial, xh, logdet)
    return against_jacobian(trial, z, xh, logdet, inverse=True)


def against_jacobian(trial: Trial, x: Tensor, z: Tensor, logdet: Tensor, inverse: bool) -> Measure:
    """Compare log-dets ``(B,)`` with those of the Jacobians at ``x (B, *event)``, sample by sample.

    A sample that is too ill-conditioned excuses no other one.
    """
    values = as_extended(logdet)
    judged: list[Measure] = []
    ill: list[Measure] = []
    for n in range(len(x)):
        if x[n].numel() > bounds.MOST_EXPLICIT:
            judged.append(_against_probes(trial, x[n], float(values[n]), inverse))
            continue
        here = _of_sample(trial, x[n], z[n], float(values[n]), inverse)
        (ill if here.ill_conditioned else judged).append(here)
    found = judged or ill
    return worst(*found) if found else Measure(0.0, "T9", 1.0)


def _of_sample(trial: Trial, x: Tensor, z: Tensor, logdet: float, inverse: bool) -> Measure:
    """Judge one sample ``x (*event)`` with image ``z`` by rule T9."""
    if not bool(z.isfinite().all()):
        return ill_conditioned("T9", math.inf, OUTSIDE)
    lost = lost_in_dtype(trial, x, logdet) if not inverse else None
    J = trial.jacobian(x, inverse=inverse)
    if not np.isfinite(J).all():
        return lost or ill_conditioned("T9", math.inf, "J is not finite")
    largest, smallest = singular_extremes(J)
    kappa, ill = trial.judgeable(x, z, inverse)
    known = trial.jacobian_arithmetic(x, inverse)
    if ill or numerically_singular(largest, smallest, len(J), known):
        impossible = _more_than_possible(trial, J, logdet, kappa, known)
        return lost or impossible or ill_conditioned("T9", kappa)
    expected, _ = slogdet(J)
    bound = bounds.dense_logdet(len(J), kappa, 1, expected, known)
    bound += logdet_rounding(trial, x, inverse, expected, logdet, bound)
    unlike = "" if math.isfinite(logdet) else f"got {logdet}, of the Jacobian {expected:.6g}"
    return bounds.compare(logdet, expected, bound, "T9", kappa, detail=unlike)


#: If roundings explain less than this share of an error after two steps, they do not explain it.
_NO_ROUNDING = 2.0**-10


def logdet_rounding(
    trial: Trial, x: Tensor, inverse: bool, expected: float, got: float, bound: float
) -> float:
    """Return the log-det error of the Jacobian itself, which foreign code forms in float64.

    It is computed only where a layer without a definition would fail: a map whose slopes vanish
    (``1 - tanh^2``) gives them with few digits. Moving ``x`` by some roundings shows how few.
    """
    fine = abs(got - expected) <= THRESHOLDS["T9"] * bound
    if fine or trial.subject.is_defined or not math.isfinite(got):
        return 0.0
    wide, spread = x.to(trial.widest), 0.0
    for steps in (1, -1, 2, -3):
        moved = wide * (1 + steps * torch.finfo(trial.widest).eps)
        spread = max(spread, abs(slogdet(trial.jacobian(moved, inverse=inverse))[0] - expected))
        if steps == -1 and spread < _NO_ROUNDING * abs(got - expected):
            break
    return 4 * spread


def lost_in_dtype(trial: Trial, x: Tensor, logdet: float) -> Measure | None:
    """Return a FAIL if a log-det is not finite in float32 but an ordinary number in float64."""
    if math.isfinite(logdet) or trial.case.dtype == trial.widest:
        return None
    _, wide = trial.reference(x[None])
    value, J = float(wide[0]), trial.jacobian(x)
    if not math.isfinite(value) or not np.isfinite(J).all():
        return None
    if not singular_extremes(J)[1] > trial.arithmetic.tiny:
        return None  # a slope that float32 cannot hold has no logarithm there
    told = "the log-det leaves the range of float32; in float64 it is an ordinary number"
    return Measure(math.inf, "T9", detail=told, got=logdet, expected=value, bound=0.0)


def _of_unknown_inverse(trial: Trial, xh: Tensor, logdet: Tensor) -> Measure:
    """Judge the inverse's log-det of a layer without a definition.

    The latent is an image, so the point that it came from tells how well it can be inverted.
    """
    z, measures = trial.latent, []
    for n in range(len(z)):
        origin, here = trial.preimage[n], slice(n, n + 1)
        if not bool(z[n].isfinite().all()):
            measures.append(ill_conditioned("T9", math.inf, OUTSIDE))
        elif trial.judgeable(origin, z[n])[1]:
            measures.append(ill_conditioned("T9", trial.judgeable(origin, z[n])[0]))
        elif not bool(xh[n].isfinite().all()):
            told = "the inverse of an image is not finite"
            measures.append(Measure(math.inf, "T9", detail=told, got=float("nan")))
        else:
            found = against_jacobian(trial, z[here], xh[here], logdet[here], inverse=True)
            measures.append(_relaxed(trial, found, origin, xh[n]))
    return worst(*measures)


def _relaxed(trial: Trial, found: Measure, origin: Tensor, xh: Tensor) -> Measure:
    """Widen the bound for an inverse of finite accuracy, whose log-det is of a nearby point."""
    if trial.has("exact_inverse") or found.ok or found.ill_conditioned:
        return found
    there, here = (slogdet(trial.jacobian(point))[0] for point in (origin, xh))
    spare = bounds.LAST_STEPS * abs(there - here)
    bound = found.bound + spare / THRESHOLDS["T9"]
    return bounds.compare(found.got, found.expected, bound, "T9", found.condition)


def _more_than_possible(
    trial: Trial, J: Array, logdet: float, kappa: float, known: bounds.Arithmetic
) -> Measure | None:
    """Return a FAIL if a log-det exceeds what any matrix near a singular ``J`` can have.

    This keeps a layer that is not invertible from passing as ill-conditioned.
    """
    # A slope that underflowed far from the origin says nothing about the layer.
    if len(J) > bounds.MOST_SINGULAR or not np.isfinite(logdet) or trial.case.wide:
        return None
    singular = np.linalg.svd(J, compute_uv=False)
    most = bounds.largest_logdet(singular, known)
    if logdet <= most:
        return None
    told = "the Jacobian is singular: the log-det is larger than rounding allows"
    return Measure(np.inf, "T9", kappa, detail=told, got=logdet, expected=most, bound=0.0)


def _against_probes(trial: Trial, x: Tensor, logdet: float, inverse: bool) -> Measure:
    """Compare with the log-det from probes of a large Jacobian, known up to some deviations."""
    found = trial.probed(x, inverse)
    largest, smallest = trial.singular_extremes(x, inverse)
    kappa = largest / smallest if smallest > 0 else np.inf
    if not np.isfinite(found.logdet) or too_ill(kappa, trial.arithmetic.u):
        return Measure(np.inf, "PROBE", kappa, ill_conditioned=True)
    n = x.numel()
    bound = bounds.probed_logdet(found.deviation, found.truncation, n, float(np.log(kappa)))
    bound += trial.jacobian_logdet_unit(n, kappa, logdet)
    return bounds.compare(logdet, found.logdet, bound, "PROBE", kappa, detail="by random probes")


@check("logdet", Clause.LOGDET, "definition", "exact_logdet")
def logdet_matches_definition(trial: Trial) -> Measure:
    """``forward`` returns the closed form (rules T4, T6, T7; running error if nonlinear)."""
    assert trial.definition is not None
    logdet = as_extended(trial.forward[1])
    return trial.definition.logdet_error(as_extended(trial.x), logdet, trial.arithmetic)


@check("logdet", Clause.LOGDET, "inverse_logdet", "exact_logdet")
def logdets_cancel(trial: Trial) -> Measure:
    """The log-dets of a round trip sum to zero (clause 3)."""
    (z, there), (returned, back) = trial.forward, trial.back
    if not trial.subject.is_defined and not bool(z.isfinite().all()):
        return ill_conditioned("AGREE", math.inf, OUTSIDE)
    bound = trial.forward_bound(trial.x)[1]
    size = trial.arithmetic.u * np.abs(as_extended(there))
    if trial.definition is None:
        size = size + _drift(trial, trial.x, returned)
    if trial.definition is None or trial.definition.linear:
        return agree(as_extended(there), -as_extended(back), bound + size)
    # The inverse evaluates its log-det at what forward returned, rounding included: judged
    # only where that is still invertible (a gate may have vanished).
    x, xh = as_extended(trial.x), as_extended(returned)
    run = trial.definition.running(x, np.abs(bounds.difference(xh, x)), trial.arithmetic)
    bound = np.maximum(bound, run.logdet_error) + size
    for n in range(len(x)):
        sample = slice(n, n + 1)
        trip = trial.definition.round_trip_error(x[sample], xh[sample], trial.arithmetic)
        bound[sample] = np.inf if trip.ill_conditioned else bound[sample]
    return agree(as_extended(there), -as_extended(back), bound)


#: Nearby points, at any of which an inverse of finite accuracy may have taken its log-det.
_NEARBY = 8


def _drift(trial: Trial, x: Tensor, xh: Tensor) -> Array:
    """Return how far the true log-det moves from ``x`` to ``xh``, ``(B,)``.

    The inverse takes its log-det where its own rounding led. An inverse of finite accuracy, or a
    part of one, stopped at an unknown point near ``x``: it is allowed the change of the log-det
    within the largest distance of the batch, in random directions.
    """
    moved, exact = [], trial.has("exact_inverse")
    signs = torch.randint(0, 2, (_NEARBY, *x[0].shape), generator=trial.case.generator(9)) * 2 - 1
    far = float((xh - x)[xh.isfinite()].abs().max()) if bool(xh.isfinite().any()) else 0.0
    for n in range(len(x)):
        if trial.judgeable(x[n], trial.forward[0][n])[1]:
            moved.append(np.inf)
        elif not bool(xh[n].isfinite().all()):
            moved.append(0.0)
        else:
            near = [] if exact else list(x[n] + far * signs.to(x))
            there, *others = (slogdet(trial.jacobian(v))[0] for v in (x[n], xh[n], *near))
            spare = 1.0 if exact else bounds.LAST_STEPS
            moved.append(spare * max(abs(other - there) for other in others))
    return np.array(moved)
