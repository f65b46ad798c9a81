"""Causes in a layer's state: stale caches, remembered calls, modes, noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from emcheck._internal.copying import copy_layer
from emcheck._internal.randomness import SEEDS, seeded
from emcheck.checks.calling import call, call_inverse
from emcheck.checks.core import identical
from emcheck.checks.state import sizes_kept
from emcheck.checks.trial import Trial
from emcheck.diagnosis.consequences import ANY, INVERSE
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.rank import SEEN, Fit, hypothesis


def differing(a: dict[str, Tensor], b: dict[str, Tensor]) -> list[str]:
    return [name for name in a if name in b and not identical(a[name], b[name])]


@hypothesis(
    "stale_cache",
    rank=SEEN,
    when=("nothing_goes_stale",),
    explains=frozenset({"nothing_goes_stale", "state_dict_restores", "train_and_eval_agree"}),
)
def stale(evidence: Evidence) -> Iterator[Fit]:
    """An output comes from a stale cache: after an update it still has its old value."""
    for training in (True, False):
        trial = evidence.trial()
        x, z = evidence.sample_pair
        layer = trial.new_layer().train(training)
        before = evidence.outputs(layer, x, z)
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.mul_(1.25)
        after = evidence.outputs(layer, x, z)
        fresh = trial.new_layer(purpose=22).train(training)
        fresh.load_state_dict(layer.state_dict())
        expected = evidence.outputs(fresh, x, z)
        kept = [
            name
            for name in differing(after, expected)
            if identical(after[name], before[name]) and not identical(expected[name], before[name])
        ]
        if kept:
            name = kept[0]
            values = [float(v[name].reshape(-1)[0]) for v in (after, before, expected)]
            mode = "" if training else " in eval mode"
            yield Fit(
                "stale_cache",
                f"The {name} belongs to the parameters before the last update: a stale "
                f"cache{mode}.",
                f"after all parameters grew by a quarter, got {values[0]:.9g}, before "
                f"{values[1]:.9g}, a layer that never saw the old ones {values[2]:.9g}",
            )
            return


@hypothesis("size_kept", rank=SEEN - 1, when=("nothing_goes_stale",))
def size_kept(evidence: Evidence) -> Iterator[Fit]:
    """What was computed for the size of one call is used for a call of another size."""
    for told, kept in sizes_kept(evidence.trial()):
        got, expected = next((a, b) for a, b in kept if not identical(a, b))
        at = (got != expected).reshape(-1).int().argmax()
        yield Fit(
            "size_kept",
            "Something that was computed for the size of the first call is kept and used for "
            "other sizes.",
            f"after a call with {told} got {float(got.reshape(-1)[at]):.9g}, without it "
            f"{float(expected.reshape(-1)[at]):.9g}",
        )
        return


@hypothesis("remembers_last_call", rank=SEEN, when=("forward_undoes_inverse",), explains=INVERSE)
def remembers(evidence: Evidence) -> Iterator[Fit]:
    """The inverse looks up the last forward call instead of computing."""
    trial = evidence.trial()
    layer, other = copy_layer(trial.layer), copy_layer(trial.layer)
    z, _ = call(layer, trial.x)
    remembered, _ = call_inverse(layer, z)
    computed, _ = call_inverse(other, z)
    if not identical(remembered, computed) and identical(remembered, trial.x):
        off = float((computed - trial.x).abs().max())
        yield Fit(
            "remembers_last_call",
            "The inverse looks up the last forward call instead of computing: any other latent "
            "gets something else.",
            f"after forward the round trip is exact bit for bit; on a copy that was never called "
            f"the same latent is off by {off:.6g}",
        )


@hypothesis("randomness_inside", rank=SEEN - 7, when=("calls_are_deterministic",), explains=ANY)
def randomness(evidence: Evidence) -> Iterator[Fit]:
    """A call draws random numbers, or depends on the calls before it."""
    trial = evidence.trial()
    x, z = evidence.sample_pair
    outputs = []
    for seed in (*range(SEEDS), 0):
        with seeded(seed):
            outputs.append(evidence.outputs(copy_layer(trial.layer), x, z))
    first, *others, last = outputs
    noisy = next(filter(None, (differing(first, one) for one in others)), [])
    if noisy:
        same = not differing(first, last)
        size = max(float((first[noisy[0]] - one[noisy[0]]).abs().max()) for one in others)
        source = "a global generator" if same else "a generator of its own"
        yield Fit(
            "randomness_inside",
            f"A call draws random numbers: the {' and the '.join(noisy)} differ"
            f"{'s' if len(noisy) == 1 else ''} from call to call.",
            f"calls on equal copies differ by up to {size:.3g}; the numbers come from {source}",
        )
        return
    layer = copy_layer(trial.layer)
    evidence.outputs(layer, x, z)  # a first call may prepare something, others not
    if changed_state(layer, lambda: evidence.outputs(layer, x, z)):
        return
    again = [evidence.outputs(layer, x, z) for _ in range(SEEDS)]
    moving = next(filter(None, (differing(again[0], one) for one in again)), [])
    if moving:
        yield Fit(
            "randomness_inside",
            f"The {' and the '.join(moving)} differ{'s' if len(moving) == 1 else ''} between two "
            "calls with the same input: the layer draws from a generator of its own, or counts "
            "its calls.",
            f"{SEEDS} calls of one layer with equal data and equal global seeds differ, and its "
            "state_dict does not",
        )


@hypothesis(
    "mode_dependent",
    rank=SEEN,
    when=("train_and_eval_agree",),
    explains=frozenset({"train_and_eval_agree", "nothing_goes_stale", "state_dict_restores"}),
)
def mode_dependent(evidence: Evidence) -> Iterator[Fit]:
    """``train()`` and ``eval()`` compute different outputs on equal copies."""
    trial = evidence.trial()
    x, z = evidence.sample_pair
    train, held = (
        evidence.outputs(copy_layer(trial.layer).train(mode), x, z) for mode in (True, False)
    )
    again = evidence.outputs(copy_layer(trial.layer).train(True), x, z)
    changed = differing(train, held)
    changed = [name for name in changed if not evidence.alike(train[name], held[name])]
    if changed and not differing(train, again):
        name = changed[0]
        worst = int((train[name] - held[name]).abs().reshape(-1).argmax())
        a, b = (float(v[name].reshape(-1)[worst]) for v in (train, held))
        yield Fit(
            "mode_dependent",
            f"train() and eval() compute a different {' and '.join(changed)}.",
            f"on equal copies: {a:.6g} in training mode, {b:.6g} in eval mode",
        )


def changed_state(layer: nn.Module, run: object) -> list[str]:
    """Return the names in the state_dict that a call changes."""
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    with torch.no_grad():
        run()  # type: ignore[operator]
    after = layer.state_dict()
    return [n for n in after if n not in before or not identical(after[n], before[n])]


def untouched(evidence: Evidence) -> tuple[Trial, Tensor]:
    """Return a trial of the base case, and data that suit an initialisation."""
    trial = evidence.trial(replace(evidence.base, batch=4))
    return trial, 3 * trial.x + 2
