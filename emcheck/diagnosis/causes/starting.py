"""An initialisation from the first batch that is not saved, or that one sample spoils."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from emcheck.checks.calling import call
from emcheck.diagnosis.causes.state import changed_state
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.rank import SEEN, Fit, hypothesis


@hypothesis(
    "start_not_saved",
    rank=SEEN - 5,
    when=("state_dict_restores",),
    explains=frozenset({"state_dict_restores"}),
)
def start_not_saved(evidence: Evidence) -> Iterator[Fit]:
    """A restored layer initialises itself again from the next training batch."""
    subject = evidence.subject
    if subject.unstarted is None:
        return
    case = replace(evidence.base, batch=8)
    trial, other = evidence.trial(case), evidence.trial(replace(case, seed=case.seed + 1))
    fresh = subject.unstarted(other.case).to(dtype=case.dtype)
    fresh.load_state_dict(trial.layer.state_dict())
    names = changed_state(fresh.train(), lambda: call(fresh, 2 * trial.sample(24) + 1))
    if names:
        told = ", ".join(f"`{name}`" for name in names)
        yield Fit(
            "start_not_saved",
            "The layer sets itself from its first training batch, and that it has done so is "
            "not saved in the state_dict: a restored layer starts anew and overwrites what it "
            "had learnt.",
            f"after load_state_dict the next training batch changes {told}",
        )


@hypothesis(
    "start_from_one_sample",
    rank=SEEN - 5,
    when=("first_batch_is_safe",),
    explains=frozenset({"first_batch_is_safe"}),
)
def start_from_one_sample(evidence: Evidence) -> Iterator[Fit]:
    """A first batch of one sample makes parameters NaN; one of two samples does not."""
    unstarted, spoilt = evidence.subject.unstarted, {}
    own = evidence.subject.unwrap(evidence.trial().layer)
    if unstarted is None and not hasattr(own, "initialize"):
        return
    for batch in (1, 2):
        trial = evidence.trial(replace(evidence.base, batch=batch, style="initial"))
        if unstarted is None:
            layer = trial.layer
            x = trial.x[:, :, :1, :1]
            evidence.subject.unwrap(layer).initialize(x)  # type: ignore[operator]
        else:
            layer = unstarted(trial.case).to(dtype=trial.case.dtype)
            call(layer.train(), trial.x)
        spoilt[batch] = [
            f"`{n}`"
            for n, p in {**dict(layer.named_parameters()), **dict(layer.named_buffers())}.items()
            if p.is_floating_point() and not bool(torch.isfinite(p).all())
        ]
    if spoilt[1] and not spoilt[2]:
        yield Fit(
            "start_from_one_sample",
            "A first training batch of one sample makes parameters NaN or infinite for good: the "
            "standard deviation of a single sample is NaN, or 0.",
            f"{', '.join(spoilt[1])} after a first batch of one sample, none after one of two",
        )
