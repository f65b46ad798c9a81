"""State: saving, copying, updating, compiling and initialising a layer."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from emcheck.bounds import Measure
from emcheck.checks.calling import call, call_inverse, forward_of, inverse_of
from emcheck.checks.case import Case, Subject
from emcheck.checks.core import agree_tensors, check, identical, worst, yes
from emcheck.checks.trial import Trial
from emcheck.oracle import as_extended
from emcheck.spec import Trait


def _outputs(layer: nn.Module, trial: Trial) -> tuple[Tensor, ...]:
    forward = call(layer, trial.x)
    if not trial.has("inverse"):
        return forward
    return (*forward, *call_inverse(layer, trial.latent))


def _equal(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> bool:
    return all(map(identical, a, b))


@check("state")
def state_dict_restores(trial: Trial) -> Measure:
    """A fresh layer with the saved state_dict gives the same outputs, bit for bit."""
    call(trial.layer, trial.sample(23))  # saved after use: what sets itself in a call is set
    expected = _outputs(trial.layer, trial)
    # Everything random is drawn anew, what the constructor draws too (a frozen permutation).
    other = Trial(trial.subject, replace(trial.case, seed=trial.case.seed + 1))
    fresh = other.new_layer(purpose=20)
    fresh.load_state_dict(trial.layer.state_dict())
    same = _equal(_outputs(fresh, trial), expected)
    return yes(same, "a fresh layer with the loaded state_dict computes something else")


@check("state", house=True)
def copies_and_pickles_agree(trial: Trial) -> Measure:
    """``deepcopy`` and ``pickle`` give layers with the same outputs."""
    expected = _outputs(trial.layer, trial)
    copied = _outputs(copy.deepcopy(trial.layer), trial)
    pickled = _outputs(pickle.loads(pickle.dumps(trial.layer)), trial)
    fine = _equal(copied, expected)
    return yes(fine and _equal(pickled, expected), "pickle differs" if fine else "deepcopy differs")


@check("state")
def nothing_goes_stale(trial: Trial) -> Measure:
    """After parameters change in place, results are those of a layer that never saw the old ones.

    Also against the definition at the new parameters, where there is one (clause 6).
    """
    modes = (True, False) if trial.has("modes") else (False,)
    return worst(*(_goes_stale(trial, training) for training in modes))


def _goes_stale(trial: Trial, training: bool) -> Measure:
    """In one mode: some layers cache in eval mode only."""
    layer = trial.new_layer().train(training)
    _outputs(layer, trial)  # whatever is cached is cached now
    trial.move(layer, 21, "trained")
    if trial.subject.spec is None or trial.subject.spec.move is None:
        with torch.no_grad():
            for parameter in layer.parameters():
                if parameter.requires_grad and trial.has("free_parameters"):
                    parameter.mul_(1.0625)
    unseen = trial.new_layer(purpose=22)
    unseen.load_state_dict(layer.state_dict())
    got = _outputs(layer, trial)
    fresh = yes(_equal(got, _outputs(unseen, trial)), "a value of before the update came back")
    definition = trial.define(layer)
    if definition is None:
        return fresh
    x, z, logdet = (as_extended(v) for v in (trial.x, got[0], got[1]))
    forward = definition.forward_error(x, z, trial.arithmetic)
    return worst(fresh, forward, definition.logdet_error(x, logdet, trial.arithmetic))


@check("state", "modes")
def train_and_eval_agree(trial: Trial) -> Measure:
    """``train()`` and ``eval()`` give the same outputs."""
    layer = trial.new_layer()
    trained = _outputs(layer.train(), trial)
    return yes(_equal(trained, _outputs(layer.eval(), trial)), "train and eval differ")


def _one_graph(case: Case, subject: Subject) -> Case:
    small = replace(case, style="trained", scale="unit", batch=max(case.batch, 1))
    return subject.clip(small, 2, 3)


@check("state", adapt=_one_graph, optional=True)
def compiled_agrees(trial: Trial) -> Measure:
    """``torch.compile`` gives the same values (graph capture and AOT; no code generation).

    Compiling is what costs: odd seeds take the inverse, even ones forward.
    """
    layer, (z, logdet) = trial.layer, trial.forward
    of_z, of_logdet = trial.forward_bound(trial.x)
    if trial.case.seed % 2 == 0 or not trial.has("inverse"):
        got, got_logdet = _compiled(lambda x: forward_of(layer, x), trial.x)
        return worst(agree_tensors(got, z, of_z), agree_tensors(got_logdet, logdet, of_logdet))
    got, got_logdet = _compiled(lambda z: inverse_of(layer, z), z)
    of_x = trial.inverse_bound(trial.back[0], z)
    if trial.definition is not None and not trial.definition.linear:
        # The inverse's log-det is taken where its own rounding has led.
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


def _enough_data(case: Case, subject: Subject) -> Case:
    return replace(case, scale="unit", batch=max(case.batch, 4))


@check("state", Trait.INITIALIZES, adapt=_enough_data)
def initialization_normalizes(trial: Trial) -> Measure:
    """``initialize(x)`` gives mean 0 and variance 1 per channel, in either mode, for good."""
    measures = []
    for training in (True, False):
        layer = trial.new_layer(style="initial").train(training)
        data = 3 * trial.x + 2
        trial.subject.unwrap(layer).initialize(data)  # type: ignore[operator]
        call(layer, trial.sample(12))  # other data later on do not change what was set
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
