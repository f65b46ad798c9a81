"""Rules that hold for the log-dets of some layers."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from emcheck.bounds import Measure
from emcheck.checks.calling import call
from emcheck.checks.core import (
    Unsupported,
    agree,
    agree_tensors,
    check,
)
from emcheck.checks.trial import Trial
from emcheck.guard import foreign, one_line
from emcheck.known import Clause
from emcheck.oracle import as_extended
from emcheck.specs.core import Trait


@check("logdet", Clause.LOGDET, Trait.LINEAR)
def logdet_is_constant_in_x(trial: Trial) -> Measure:
    """The log-det of a linear layer does not depend on ``x``."""
    other = call(trial.layer, trial.sample(5))[1]
    bound = trial.forward_bound(trial.x)[1]
    return agree_tensors(trial.forward[1], other, bound)


@check("logdet", Clause.LOGDET, Trait.ZERO_PADDED)
def logdet_scales_with_pixels(trial: Trial) -> Measure:
    """The log-det of a zero-padded convolution is ``H W`` times that of one pixel."""
    _, H, W = trial.case.event
    pixel = call(trial.layer, trial.x[:, :, :1, :1])[1]
    bound = trial.forward_bound(trial.x)[1]
    return agree(as_extended(trial.forward[1]), H * W * as_extended(pixel), bound)


@check("logdet", Clause.LOGDET)
def log_det_alone_agrees(trial: Trial) -> Measure:
    """``log_det(x)`` is the log-det that ``forward(x)`` returns, if the layer has ``log_det``."""
    if not hasattr(trial.layer, "log_det"):
        raise Unsupported("the layer has no log_det method")
    try:
        with torch.no_grad():
            alone: Tensor = trial.layer.log_det(trial.x)  # type: ignore[operator]
    except foreign() as error:
        if trial.subject.own:
            raise
        raise Unsupported(f"its log_det is another method: {one_line(error)}") from error
    if not trial.subject.own and tuple(alone.shape) != (len(trial.x),):
        raise Unsupported("its log_det is another method: it returns no number for each sample")
    bound = trial.forward_bound(trial.x)[1]
    return replace(agree_tensors(alone, trial.forward[1], bound), note=True)
