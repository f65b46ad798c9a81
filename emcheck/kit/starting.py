"""Layers that set themselves from their first batch: found by what they do, and started."""

from __future__ import annotations

import warnings
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from emcheck._internal.randomness import seeded
from emcheck.checks import Case, Subject
from emcheck.checks.core import identical
from emcheck.guard import TimeLimit, foreign, time_limit
from emcheck.guard.surroundings import settings_kept


def started(subject: Subject, case: Case, seconds: float) -> tuple[Subject, tuple[str, ...]]:
    """Return the subject, started if its first training batch sets it, and a note about it.

    If a first training-mode batch changes parameters or buffers and a second one changes none,
    that is a start, however it is written. The subject then builds layers that have had their
    first batch, eight samples of data, and remembers how to build one that has not.

    Args:
        subject: the subject as given.
        case: the event, and the seed of the data.
        seconds: time limit for the calls.
    """
    if subject.own:
        return subject, ()
    try:
        with settings_kept(), warnings.catch_warnings(), time_limit(seconds):
            warnings.simplefilter("ignore")
            names = _set_by_first_batch(subject, case)
    except TimeLimit:
        return subject, ()
    except foreign():  # a layer that refuses or hangs: discovery says so
        return subject, ()
    if not names:
        return subject, ()
    build = subject.build

    def start(case: Case) -> nn.Module:
        layer = build(case)
        _train_once(layer, first_batch(subject, case, layer))
        return layer

    listed = ", ".join(f"`{name}`" for name in names)
    note = f"its first training batch sets {listed}: started once, all checks run after that"
    return replace(subject, build=start, unstarted=build), (note,)


def _set_by_first_batch(subject: Subject, case: Case) -> list[str]:
    """Return what the first training batch sets and the second does not change; else nothing.

    A buffer that is the same for other data is scratch memory and no start; a parameter that did
    not exist before is one.
    """
    layer = subject.build(case)
    data = first_batch(subject, case, layer)
    before = _state(layer)
    _train_once(layer, data)
    after = _state(layer)
    _train_once(layer, 3 * data.flip(0) + 2 if subject.draw is None else data.flip(0))
    later = _state(layer)
    if _changed(after, later):
        return []
    other = subject.build(case)
    _train_once(other, first_batch(subject, replace(case, seed=case.seed + 1), other))
    learnt = set(_changed(after, _state(other)))
    learnt |= {name for name, _ in layer.named_parameters()} - before.keys()
    return [name for name in _changed(before, after) if name in learnt]


def first_batch(subject: Subject, case: Case, layer: nn.Module) -> Tensor:
    """Draw eight samples of data in the dtype that the layer was built in."""
    floating = [p for p in layer.parameters() if not is_lazy(p) and p.is_floating_point()]
    like = floating[0] if floating else torch.zeros(())
    generator = Case(case.event, seed=case.seed).generator(60)
    if subject.draw is not None:
        return subject.draw(8, case.event, generator).to(like)
    data = torch.randn((8, *case.event), generator=generator, dtype=torch.float64)
    return data.to(like)


def _train_once(layer: nn.Module, data: Tensor) -> None:
    """Call forward once in training mode without gradients, then restore all modes."""
    modes = [(module, module.training) for module in layer.modules()]
    try:
        with torch.no_grad():
            layer.train()(data.clone())
    finally:
        for module, mode in modes:
            module.training = mode


def evaluated(subject: Subject, case: Case) -> nn.Module:
    """Return a layer in evaluation mode; one with running statistics after three training batches.

    Running statistics of 0 and 1, as built, would hide every wrong use of them. What else a call
    leaves behind is not to be there already.
    """
    layer, trained = subject.build(case), subject.build(case)
    data = first_batch(subject, case, trained)
    try:
        with seeded(case.seed), settings_kept(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in range(3):
                _train_once(trained, 3 * data + 2 if subject.draw is None else data)
    except foreign():  # training calls are judged elsewhere
        return layer.eval()
    before, after = dict(layer.named_buffers()), dict(trained.named_buffers())
    moved = any(
        name in before and value.is_floating_point() and not identical(value, before[name])
        for name, value in after.items()
    )
    return (trained if moved else layer).eval()


def _state(layer: nn.Module) -> dict[str, Tensor]:
    """Return the floating-point tensors that have values; a count of calls is no start."""
    tensors = {**dict(layer.named_parameters()), **dict(layer.named_buffers())}
    known = {n: v for n, v in tensors.items() if not is_lazy(v) and v.is_floating_point()}
    return {name: value.detach().clone() for name, value in known.items()}


def _changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> list[str]:
    return [n for n, v in after.items() if n not in before or not identical(v, before[n])]
