"""Log-dets: against explicit Jacobians, against the definition, and against each other."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from emcheck import bounds
from emcheck.bounds import Measure, numerically_singular, too_ill
from emcheck.checks.calling import call, call_inverse
from emcheck.checks.case import Case, Subject
from emcheck.checks.core import Unsupported, agree, agree_tensors, check
from emcheck.checks.trial import Trial
from emcheck.oracle import as_extended, singular_extremes, slogdet
from emcheck.oracle.precision import Array
from emcheck.spec import Trait


def _small_if_ill(case: Case, subject: Subject) -> Case:
    """Multi-precision elimination costs n^3: ill-conditioned cases stay small."""
    if case.style != "ill":
        return case
    return subject.clip(case, 3, 3)


@check("logdet", "exact_logdet", adapt=_small_if_ill)
def logdet_matches_jacobian(trial: Trial) -> Measure:
    """``forward`` returns log|det| of its explicit Jacobian (clause 3; rule T9)."""
    return _against_jacobian(trial, trial.x, trial.forward[1], inverse=False)


@check("logdet", "inverse_logdet", "exact_logdet", adapt=_small_if_ill)
def inverse_logdet_matches_jacobian(trial: Trial) -> Measure:
    """``inverse`` returns log|det| of the inverse's explicit Jacobian (clause 3; rule T9)."""
    _, logdet = call_inverse(trial.layer, trial.latent)
    return _against_jacobian(trial, trial.latent, logdet, inverse=True)


def _against_jacobian(trial: Trial, x: Tensor, logdet: Tensor, inverse: bool) -> Measure:
    values = as_extended(logdet)
    measure = Measure(0.0, "T9", 1.0)
    for n in range(len(x)):
        if x[n].numel() > bounds.MOST_EXPLICIT:
            measure = _against_probes(trial, x[n], float(values[n]), inverse)
            continue
        J = trial.jacobian(x[n], inverse=inverse)
        if not np.isfinite(J).all():
            return Measure(np.inf, "T9", np.inf, ill_conditioned=True, detail="J is not finite")
        largest, smallest = singular_extremes(J)
        kappa = largest / smallest if smallest > 0 else np.inf
        singular = numerically_singular(largest, smallest, len(J), trial.arithmetic)
        if singular or too_ill(kappa, trial.arithmetic.u):
            impossible = _more_than_possible(trial, J, float(values[n]), kappa)
            return impossible or Measure(np.inf, "T9", kappa, ill_conditioned=True)
        expected, _ = slogdet(J)
        bound = bounds.dense_logdet(len(J), kappa, 1, expected, trial.arithmetic)
        here = bounds.compare(values[n], expected, bound, "T9", kappa)
        measure = here if here.ratio >= measure.ratio else measure
    return measure


def _more_than_possible(trial: Trial, J: Array, logdet: float, kappa: float) -> Measure | None:
    """A FAIL where a log-det exceeds what any matrix near a singular ``J`` can have.

    So a layer that is not invertible does not escape as ill-conditioned.
    """
    if len(J) > bounds.MOST_SINGULAR or not np.isfinite(logdet):
        return None
    singular = np.linalg.svd(J, compute_uv=False)
    most = bounds.largest_logdet(singular, trial.arithmetic)
    if logdet <= most:
        return None
    told = "the Jacobian is singular: the log-det is larger than rounding allows"
    return Measure(np.inf, "T9", kappa, detail=told, got=logdet, expected=most, bound=0.0)


def _against_probes(trial: Trial, x: Tensor, logdet: float, inverse: bool) -> Measure:
    """A large Jacobian is probed: the log-det is known up to some deviations."""
    found = trial.probed(x, inverse)
    largest, smallest = trial.singular_extremes(x, inverse)
    kappa = largest / smallest if smallest > 0 else np.inf
    if not np.isfinite(found.logdet) or too_ill(kappa, trial.arithmetic.u):
        return Measure(np.inf, "PROBE", kappa, ill_conditioned=True)
    n = x.numel()
    bound = bounds.probed_logdet(found.deviation, found.truncation, n, float(np.log(kappa)))
    bound += trial.jacobian_logdet_unit(n, kappa, logdet)
    return bounds.compare(logdet, found.logdet, bound, "PROBE", kappa, detail="by random probes")


@check("logdet", "definition", "exact_logdet")
def logdet_matches_definition(trial: Trial) -> Measure:
    """``forward`` returns the closed form (rules T4, T6, T7; running error if nonlinear)."""
    assert trial.definition is not None
    logdet = as_extended(trial.forward[1])
    return trial.definition.logdet_error(as_extended(trial.x), logdet, trial.arithmetic)


@check("logdet", "inverse_logdet", "exact_logdet", "exact_inverse")
def logdets_cancel(trial: Trial) -> Measure:
    """The log-dets of a round trip sum to zero (clause 3)."""
    (_, there), (returned, back) = trial.forward, trial.back
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


def _drift(trial: Trial, x: Tensor, xh: Tensor) -> Array:
    """How far the true log-det moves from ``x`` to ``xh``, ``(B,)``: rounding, for a round trip.

    The inverse takes its log-det where its own rounding has led.
    """
    pairs = [[slogdet(trial.jacobian(v[n]))[0] for v in (x, xh)] for n in range(len(x))]
    return np.abs(np.array([b - a for a, b in pairs]))


@check("logdet", Trait.LINEAR)
def logdet_is_constant_in_x(trial: Trial) -> Measure:
    """The log-det of a linear layer does not depend on ``x``."""
    other = call(trial.layer, trial.sample(5))[1]
    bound = trial.forward_bound(trial.x)[1]
    return agree_tensors(trial.forward[1], other, bound)


@check("logdet", Trait.ZERO_PADDED)
def logdet_scales_with_pixels(trial: Trial) -> Measure:
    """The log-det of a zero-padded convolution is ``H W`` times that of one pixel."""
    _, H, W = trial.case.event
    pixel = call(trial.layer, trial.x[:, :, :1, :1])[1]
    bound = trial.forward_bound(trial.x)[1]
    return agree(as_extended(trial.forward[1]), H * W * as_extended(pixel), bound)


@check("logdet")
def log_det_alone_agrees(trial: Trial) -> Measure:
    """``log_det(x)`` is the log-det that ``forward(x)`` returns, where a layer has it."""
    if not hasattr(trial.layer, "log_det"):
        raise Unsupported("the layer has no log_det method")
    with torch.no_grad():
        alone = trial.layer.log_det(trial.x)  # type: ignore[operator]
    bound = trial.forward_bound(trial.x)[1]
    return agree_tensors(alone, trial.forward[1], bound)
