"""State: saving, copying, updating and training a layer."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from emcheck._internal.copying import copy_layer
from emcheck.adapters import Adapted
from emcheck.bounds import Measure
from emcheck.checks.calling import call, call_inverse, forward_of
from emcheck.checks.case import Case, Subject
from emcheck.checks.core import Unsupported, check, identical, worst, yes
from emcheck.checks.trial import Trial
from emcheck.guard import foreign, one_line
from emcheck.known import Clause
from emcheck.oracle import as_extended


def _outputs(layer: nn.Module, trial: Trial) -> tuple[Tensor, ...]:
    forward = call(layer, trial.x)
    if not trial.has("inverse"):
        return forward
    return (*forward, *call_inverse(layer, trial.latent))


def _equal(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> bool:
    return all(map(identical, a, b))


@check("state", Clause.PURITY, "torch_state")
def state_dict_restores(trial: Trial) -> Measure:
    """A fresh layer with the saved state_dict gives the same outputs, bit for bit.

    If the layer sets itself from its first batch, this also holds after a training batch: such a
    layer sets anew what the state_dict lacks and forgets what it learnt.
    """
    call(trial.layer, trial.sample(23))  # saved after use, so that what a call sets is set
    expected = _outputs(trial.layer, trial)
    # Everything random is drawn anew, by the constructor too (a frozen permutation).
    other = Trial(trial.subject, replace(trial.case, seed=trial.case.seed + 1))
    fresh = other.unstarted() or other.new_layer(purpose=20)
    fresh.load_state_dict(trial.layer.state_dict())
    told = "a fresh layer with the loaded state_dict computes something else"
    if not _equal(_outputs(fresh.train(trial.layer.training), trial), expected):
        return yes(False, told)
    if trial.subject.unstarted is None:
        return yes(True)
    call(fresh.train(), 2 * trial.sample(24, batch=8) + 1)
    same = _equal(_outputs(fresh.train(trial.layer.training), trial), expected)
    return yes(same, "a restored layer sets itself anew from its next training batch")


@check("state", Clause.PURITY, "torch_state", house=True)
def copies_and_pickles_agree(trial: Trial) -> Measure:
    """``deepcopy`` and ``pickle`` give layers with the same outputs."""
    expected = _outputs(trial.layer, trial)
    copied = _outputs(copy.deepcopy(trial.layer), trial)
    pickled = _outputs(_pickled(trial.layer), trial)
    fine = _equal(copied, expected)
    return yes(fine and _equal(pickled, expected), "pickle differs" if fine else "deepcopy differs")


def _pickled(layer: nn.Module) -> nn.Module:
    """Return the layer from its pickle; a wrapping adapter that cannot be pickled is no finding."""
    try:
        restored: nn.Module = pickle.loads(pickle.dumps(layer))
    except foreign() as error:
        if not isinstance(layer, Adapted):
            raise
        parts = [value for value in vars(layer).values() if not callable(value)]
        for part in (*parts, *layer.children()):
            pickle.dumps(part)  # raises what the library's own layer raises
        raise Unsupported(f"its adapter cannot be pickled: {one_line(error)}") from error
    return restored


@check("state", Clause.PURITY)
def nothing_goes_stale(trial: Trial) -> Measure:
    """After parameters change in place, results are those of a layer that never saw the old ones.

    They also match the definition at the new parameters, if there is one (clause 6). So they are
    after images of another size, for a layer that takes several, and after a batch of another size.
    """
    modes = (True, False) if trial.has("modes") else (False,)
    told = next((told for told, _ in sizes_kept(trial)), "")
    detail = f"after a call with {told} something of that size is kept"
    return worst(*(_goes_stale(trial, training) for training in modes), yes(not told, detail))


def sizes_kept(trial: Trial) -> Iterator[tuple[str, list[tuple[Tensor, Tensor]]]]:
    """Yield sizes that leave something behind, with the outputs after and without such a call.

    A layer that then refuses is no finding, nor is what any call of the same size leaves behind:
    other checks judge that.
    """
    case, fresh = trial.case, _outputs(trial.new_layer(), trial)
    for told, other in _other_sizes(trial.subject, case):
        used, alike = trial.new_layer(), trial.new_layer()
        try:
            _outputs(alike, Trial(trial.subject, replace(case, seed=case.seed + 1)))
            same = _equal(_outputs(alike, trial), fresh)
            _outputs(used, Trial(trial.subject, other))
            got = _outputs(used, trial)
        except foreign():
            continue
        if same and not _equal(got, fresh):
            yield told, list(zip(got, fresh, strict=True))


def _other_sizes(subject: Subject, case: Case) -> Iterator[tuple[str, Case]]:
    """Yield cases of another event and of another batch, each with how it is told."""
    m, (C, *space) = subject.multiple(case), case.event
    longer = [(C, *(size + m for size in space))] if subject.any_size and space else []
    for event in [event for event in (*subject.sizes, *longer) if event != case.event][:1]:
        yield f"an event {event}", replace(case, event=event)
    yield f"a batch of {case.batch + 1}", replace(case, batch=case.batch + 1)


def _goes_stale(trial: Trial, training: bool) -> Measure:
    """Judge one mode: some layers cache in eval mode only."""
    layer = trial.new_layer().train(training)
    _outputs(layer, trial)  # whatever is cached is cached now
    if not trial.subject.own and not _follows_dtype(trial, layer):
        return yes(False, "used in float32 and converted, the layer computes with rounded numbers")
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
    measures = [fresh, definition.forward_error(x, z, trial.arithmetic)]
    if trial.has("exact_logdet"):
        measures.append(definition.logdet_error(x, logdet, trial.arithmetic))
    return worst(*measures)


def _follows_dtype(trial: Trial, used: nn.Module) -> bool:
    """Whether a layer converted after use in float32 answers like one converted before use."""
    if trial.case.dtype != torch.float32 or trial.widest == torch.float32:
        return True
    wide = Trial(trial.subject, replace(trial.case, dtype=torch.float32))
    x, unused = trial.x.double(), wide.new_layer().train(used.training).double()
    converted = copy_layer(used).double()
    outputs = [*call(converted, x)], [*call(unused, x)]
    if trial.has("inverse"):
        z = outputs[1][0]
        for layer, known in zip((converted, unused), outputs, strict=True):
            known += call_inverse(layer, z)
    return _equal(tuple(outputs[0]), tuple(outputs[1]))


@check("state", Clause.PURITY, "torch_state", "modes")
def train_and_eval_agree(trial: Trial) -> Measure:
    """``train()`` and ``eval()`` give the same outputs."""
    layer = trial.new_layer()
    trained = _outputs(layer.train(), trial)
    return yes(_equal(trained, _outputs(layer.eval(), trial)), "train and eval differ")


@check("state", Clause.PURITY, "torch_state", house=True)
def parameters_are_separate(trial: Trial) -> Measure:
    """No two parameters share memory: a training step of one would move the other (clause 6)."""
    layer = trial.subject.original or trial.subject.build(trial.case)
    named = [(n, p) for n, p in layer.named_parameters() if not is_lazy(p) and p.numel()]
    for number, (name, one) in enumerate(named):
        for other_name, other in named[:number]:
            if _overlap(one, other):
                told = f"{other_name} and {name} share one storage: a training step of one "
                return yes(False, told + "moves the other")
    return yes(True)


def _overlap(one: Tensor, other: Tensor) -> bool:
    """Whether the memory of two tensors has bytes in common."""
    if one.untyped_storage().data_ptr() != other.untyped_storage().data_ptr():
        return False
    ranges = []
    for tensor in (one, other):
        steps = zip(tensor.shape, tensor.stride(), strict=True)
        last = sum((size - 1) * stride for size, stride in steps)
        start = tensor.data_ptr()
        ranges.append((start, start + last * tensor.element_size()))
    return ranges[0][0] <= ranges[1][1] and ranges[1][0] <= ranges[0][1]


@check("state", Clause.PURITY)
def training_steps_repeat(trial: Trial) -> Measure:
    """A second training step needs nothing of the graph of the first (clause 6)."""
    layer = trial.new_layer().train()
    parameters = [p for p in layer.parameters() if p.requires_grad and p.numel()]
    if not parameters:
        return yes(True)
    for number, purpose in enumerate((25, 26)):
        z, logdet = forward_of(layer, trial.sample(purpose, batch=4))
        loss = z.square().sum() - logdet.sum()
        if not loss.requires_grad:
            return yes(True)
        try:
            torch.autograd.grad(loss, parameters, allow_unused=True)
        except RuntimeError as error:
            if number == 0:
                raise Unsupported(f"no gradients: {one_line(error)}") from error
            told = "the second training step walks back through the graph of the first"
            return yes(False, f"{told}: {one_line(error, most=80)}")
    return yes(True)
