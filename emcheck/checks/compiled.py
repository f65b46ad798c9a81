"""A layer compiled by torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from emcheck.bounds import Measure
from emcheck.checks.calling import forward_of, inverse_of
from emcheck.checks.case import Case, Subject
from emcheck.checks.core import agree_tensors, check, worst
from emcheck.checks.trial import Trial
from emcheck.known import Clause
from emcheck.oracle import as_extended


def _one_graph(case: Case, subject: Subject) -> Case:
    small = replace(case, style="trained", scale="unit", batch=max(case.batch, 1))
    return subject.clip(small, 2, 3)


@check("state", Clause.PURITY, "torch_state", adapt=_one_graph, optional=True)
def compiled_agrees(trial: Trial) -> Measure:
    """``torch.compile`` gives the same values (graph capture and AOT; no code generation).

    Compiling is slow: odd seeds test the inverse, even ones forward.
    """
    layer, (z, logdet) = trial.layer, trial.forward
    of_z, of_logdet = trial.forward_bound(trial.x)
    if trial.case.seed % 2 == 0 or not trial.has("inverse"):
        got, got_logdet = _compiled(lambda x: forward_of(layer, x), trial.x)
        return worst(agree_tensors(got, z, of_z), agree_tensors(got_logdet, logdet, of_logdet))
    got, got_logdet = _compiled(lambda z: inverse_of(layer, z), z)
    of_x = trial.inverse_bound(trial.back[0], z)
    if trial.definition is not None and not trial.definition.linear:
        # The inverse takes its log-det at the point that its own rounding led to.
        run = trial.definition.running(as_extended(trial.x), of_x, trial.arithmetic)
        of_logdet = np.maximum(of_logdet, run.logdet_error)
    values = agree_tensors(got, trial.back[0], of_x, "the compiled inverse differs")
    if not trial.has("inverse_logdet"):
        return values
    return worst(values, agree_tensors(got_logdet, trial.back[1], of_logdet, "its log-det differs"))


def _compiled(f: Callable[[Tensor], tuple[Tensor, Tensor]], x: Tensor) -> tuple[Tensor, Tensor]:
    torch._dynamo.reset()
    with torch.no_grad():
        value, logdet = torch.compile(f, backend="aot_eager", dynamic=False)(x)
    torch._dynamo.reset()
    return value, logdet
