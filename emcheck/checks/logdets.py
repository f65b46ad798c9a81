"""Log-dets: against explicit Jacobians, against the definition, and against each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from emcheck import bounds
from emcheck.bounds import Measure, numerically_singular, too_ill
from emcheck.checks.case import Case, Subject
from emcheck.checks.core import Unsupported, agree, agree_tensors, check
from emcheck.checks.trial import Trial, call, call_inverse
from emcheck.oracle import as_extended, slogdet
from emcheck.spec import Trait


def _small_if_ill(case: Case, subject: Subject) -> Case:
    """Multi-precision elimination costs n^3: ill-conditioned cases stay small."""
    if case.style != "ill":
        return case
    return subject.clip(case, 3, 3)


@check("logdet", adapt=_small_if_ill)
def logdet_matches_jacobian(trial: Trial) -> Measure:
    """``forward`` returns log|det| of its explicit Jacobian (clause 3; rule T9)."""
    return _against_jacobian(trial, trial.x, trial.forward[1], inverse=False)


@check("logdet", adapt=_small_if_ill)
def inverse_logdet_matches_jacobian(trial: Trial) -> Measure:
    """``inverse`` returns log|det| of the inverse's explicit Jacobian (clause 3; rule T9)."""
    _, logdet = call_inverse(trial.layer, trial.latent)
    return _against_jacobian(trial, trial.latent, logdet, inverse=True)


def _against_jacobian(trial: Trial, x: Tensor, logdet: Tensor, inverse: bool) -> Measure:
    values = np.broadcast_to(as_extended(logdet), (len(x),))
    measure = Measure(0.0, "T9", 1.0)
    for n in range(len(x)):
        J = trial.jacobian(x[n], inverse=inverse)
        if not np.isfinite(J).all():
            return Measure(np.inf, "T9", np.inf, ill_conditioned=True, detail="J is not finite")
        singular = np.linalg.svd(J, compute_uv=False)
        kappa = float(singular[0] / singular[-1]) if singular[-1] > 0 else np.inf
        ill = too_ill(kappa, trial.arithmetic.u) or numerically_singular(singular, trial.arithmetic)
        if ill:
            return Measure(np.inf, "T9", kappa, ill_conditioned=True)
        expected, _ = slogdet(J)
        bound = bounds.dense_logdet(len(J), kappa, 1, expected, trial.arithmetic)
        error = bounds.difference(values[n], expected)
        detail = f"got {float(values[n]):.9g}, expected {expected:.9g}"
        here = Measure(bounds.ratio(error, bound), "T9", kappa, detail=detail)
        measure = here if here.ratio >= measure.ratio else measure
    return replace(measure, detail="" if measure.ok else measure.detail)


@check("logdet", "definition")
def logdet_matches_definition(trial: Trial) -> Measure:
    """``forward`` returns the closed form (rules T4, T6, T7; running error if nonlinear)."""
    assert trial.definition is not None
    logdet = as_extended(trial.forward[1])
    measure = trial.definition.logdet_error(as_extended(trial.x), logdet, trial.arithmetic)
    if measure.ok:
        return measure
    expected = np.ravel(trial.definition.logdet(as_extended(trial.x)))[0]
    return replace(measure, detail=f"got {float(logdet[0]):.9g}, expected {float(expected):.9g}")


@check("logdet")
def logdets_cancel(trial: Trial) -> Measure:
    """The log-dets of a round trip sum to zero (clause 3)."""
    (_, there), (returned, back) = trial.forward, trial.back
    bound = trial.forward_bound(trial.x)[1]
    size = trial.arithmetic.u * np.abs(as_extended(there))
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
