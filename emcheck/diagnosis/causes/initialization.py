"""Causes in initialisation from data: the wrong call, the wrong mode, the wrong numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from emcheck.bounds import DEVIATION
from emcheck.checks.calling import call, call_inverse
from emcheck.diagnosis.causes.state import changed_state, untouched
from emcheck.diagnosis.consequences import ANY
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.rank import SEEN, Fit, hypothesis
from emcheck.oracle.precision import Array

#: What a change of state in training mode alone accounts for.
_OF_TRAINING = frozenset(
    {"calls_are_pure", "calls_are_deterministic", "state_dict_restores", "train_and_eval_agree",
     "training_steps_repeat", "copies_and_pickles_agree", "compiled_agrees"}
)  # fmt: skip


@hypothesis(
    "initialises_in_eval",
    "initialises_in_a_call",
    "initialises_from_inverse",
    "initialised_flag_not_saved",
    "changes_its_state",
    rank=SEEN - 1,
    when=("calls_are_pure", "state_dict_restores", "calls_are_deterministic"),
    explains=ANY,
)
def initialises_itself(evidence: Evidence) -> Iterator[Fit]:
    """The layer initialises itself in its first call, or changes its state in every call."""
    changed: dict[tuple[str, bool], list[str]] = {}
    again: dict[tuple[str, bool], list[str]] = {}
    for name, run in (("forward", call), ("inverse", call_inverse)):
        for training in (True, False):
            trial, data = untouched(evidence)
            layer = trial.new_layer(style="initial").train(training)
            key = (name, training)
            changed[key] = changed_state(layer, lambda r=run, f=layer, d=data: r(f, d))
            other = trial.sample(64, batch=4)
            again[key] = changed_state(layer, lambda r=run, f=layer, d=other: r(f, d))
    seen = [key for key, names in changed.items() if names]
    if not seen:
        return
    names = ", ".join(f"`{n}`" for n in changed[seen[0]])
    calls = ", ".join(f"{n} in {'training' if t else 'eval'} mode" for n, t in seen)
    numbers = f"{len(seen)} of {len(changed)} kinds of first call ({calls}) change {names}"
    if any(again[key] for key in seen):
        text = f"Every call changes the layer's state: {names}."
        # In eval mode it may have other faults, which have causes of their own.
        trained = all(training for _, training in seen)
        accounts = _OF_TRAINING if trained else ANY
        numbers += "; changed by a second call as well"
        yield Fit("changes_its_state", text, numbers, accounts)
        return
    numbers += "; a second call changes nothing"
    forgets = _restored_layer_starts_anew(evidence)
    if forgets:
        text = (
            "The layer initialises itself in its first call, and that it has done so is not in "
            "the state_dict: a restored layer does it again."
        )
        yield Fit(
            "initialised_flag_not_saved", text, f"{numbers}; after load_state_dict, {forgets}"
        )
    elif any(n == "inverse" for n, _ in seen):
        text = "The layer initialises itself from the inverse: the first latent sets its state."
        yield Fit("initialises_from_inverse", text, numbers)
    elif ("forward", False) in seen:
        text = "The layer initialises itself from whatever call comes first, in eval mode too."
        yield Fit("initialises_in_eval", text, numbers)
    else:
        text = "The layer initialises itself from the first batch of training data."
        yield Fit("initialises_in_a_call", text, numbers)


def _restored_layer_starts_anew(evidence: Evidence) -> str:
    """Return, in words, what a call on a restored layer changes; empty if nothing."""
    trial, data = untouched(evidence)
    used = trial.new_layer(style="initial").train()
    call(used, data)
    fresh = trial.new_layer(purpose=20, style="initial").train()
    fresh.load_state_dict(used.state_dict())
    names = changed_state(fresh, lambda: call(fresh, trial.sample(65, batch=4)))
    return f"a call changes {', '.join(f'`{n}`' for n in names)}" if names else ""


@hypothesis(
    "initialises_in_training_only",
    "initialises_again",
    "initialises_with_stabiliser",
    rank=SEEN,
    when=("initialization_normalizes",),
)
def explicit_call(evidence: Evidence) -> Iterator[Fit]:
    """``initialize(x)`` is ignored in eval mode, repeated by the next call, or adds an epsilon."""
    trial, data = untouched(evidence)
    ignored, redone = {}, {}
    for training in (True, False):
        layer = trial.new_layer(style="initial").train(training)
        inner = trial.subject.unwrap(layer)
        names = changed_state(layer, lambda m=inner: m.initialize(data))
        ignored[training] = not names
        other = trial.sample(66, batch=4)
        redone[training] = changed_state(layer, lambda f=layer, o=other: call(f, o))
    if ignored[False] and not ignored[True]:
        text = "`initialize(x)` does nothing in eval mode."
        yield Fit(
            "initialises_in_training_only", text, "it changes the state in 1 of 2 modes, training"
        )
    elif any(redone.values()):
        names = next(n for n in redone.values() if n)
        text = "A call after `initialize(x)` initialises once more."
        told = ", ".join(f"`{n}`" for n in names)
        yield Fit("initialises_again", text, f"the next call on other data changes {told}")
    else:
        yield from _stabilised(evidence)


def _stabilised(evidence: Evidence) -> Iterator[Fit]:
    """Fit the deviation after initialising by ``d / (d + eps)``, with one eps for every channel."""
    found = []
    for factor in (3.0, 0.5):
        trial, _ = untouched(evidence)
        data = factor * trial.x + 2
        layer = trial.new_layer(style="initial")
        trial.subject.unwrap(layer).initialize(data)  # type: ignore[operator]
        z, _ = call(layer, data)
        deviations = [
            v.double().transpose(0, 1).flatten(1).std(dim=1, correction=0) for v in (data, z)
        ]
        d, after = (v.numpy() for v in deviations)
        found.append(d / after - d)
    eps, spread = common_stabiliser(found, float(d.max()), z.numel())
    if eps:
        yield Fit(
            "initialises_with_stabiliser",
            f"`initialize(x)` divides by the deviation plus {eps:.3g}: a stabiliser in the "
            "denominator.",
            f"d / d_after - d = {eps:.9g} for every channel and two scales of data (spread "
            f"{spread:.1g})",
        )


def common_stabiliser(found: Sequence[Array], largest: float, entries: int) -> tuple[float, float]:
    """Return the number that all entries equal up to rounding (0 if none), and their spread.

    ``largest`` is the largest deviation of the data from which the numbers were computed, and
    ``entries`` is how many entries these data have.
    """
    every = np.concatenate(found)
    eps, spread = float(np.median(every)), max(float(np.ptp(v)) for v in found)
    rounding = DEVIATION * float(np.finfo(np.float64).eps) * (largest + 1) * entries
    return (eps if abs(eps) > rounding and np.ptp(every) <= rounding else 0.0), spread
