"""Layers that set themselves from their first batch."""

from __future__ import annotations

from dataclasses import replace

import torch

from emcheck.bounds import Measure
from emcheck.checks.calling import call
from emcheck.checks.case import Case, Subject
from emcheck.checks.core import Unsupported, check, worst, yes
from emcheck.checks.trial import Trial
from emcheck.known import Clause
from emcheck.oracle import as_extended
from emcheck.specs.core import Trait


@check("state", Clause.PURITY, "start")
def first_batch_is_safe(trial: Trial) -> Measure:
    """A first batch of one sample leaves every parameter finite, or is refused (clause 6)."""
    layer, x = trial.unstarted(), trial.sample(27, batch=1)
    spec = trial.subject.spec
    if layer is not None:
        try:
            call(layer.train(), x)
        except ValueError:
            return yes(True)
    elif spec is not None and Trait.INITIALIZES in spec.traits:
        layer, pixel = trial.new_layer(style="initial"), x[:, :, :1, :1]
        try:
            trial.subject.unwrap(layer).initialize(pixel)  # type: ignore[operator]
        except ValueError:
            return yes(True)
    else:
        raise Unsupported("the layer does not set itself from its first batch")
    for name, value in {**dict(layer.named_parameters()), **dict(layer.named_buffers())}.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            return yes(False, f"a first training batch of one sample makes `{name}` NaN for good")
    return yes(True)


def _enough_data(case: Case, subject: Subject) -> Case:
    return replace(case, scale="unit", batch=max(case.batch, 4))


@check("state", Clause.PURITY, Trait.INITIALIZES, adapt=_enough_data)
def initialization_normalizes(trial: Trial) -> Measure:
    """``initialize(x)`` gives mean 0 and variance 1 per channel for good, in both modes."""
    measures = []
    for training in (True, False):
        layer = trial.new_layer(style="initial").train(training)
        data = 3 * trial.x + 2
        trial.subject.unwrap(layer).initialize(data)  # type: ignore[operator]
        call(layer, trial.sample(12))  # later data do not change what was set
        z, _ = call(layer, data)
        definition = trial.define(layer)
        assert definition is not None
        error = torch.from_numpy(
            definition.running(
                as_extended(data), 0 * as_extended(data), trial.arithmetic
            ).error.astype(float)
        )
        flat, limit = z.double().transpose(0, 1).flatten(1), float(error.max())
        mean = flat.mean(dim=1).abs().max()
        variance = (flat.var(dim=1, correction=0) - 1).abs().max()
        largest = float(flat.abs().max())
        rounding = 4 * limit * (1 + largest)  # of z, of the parameters, and their squares
        ratio = max(float(mean), float(variance)) / rounding
        here = Measure(ratio, "AGREE")
        measures.append(here if here.ok else replace(here, detail="not normalised"))
    return worst(*measures)
