"""Whether the context of a conditional layer changes anything."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch

from emcheck.checks import Case, Subject
from emcheck.checks.calling import call
from emcheck.checks.core import identical
from emcheck.checks.trial import Trial
from emcheck.kit.attempts import attempt

#: A context without effect is reported if it has none at these parameters; at initial ones a last
#: layer of zeros often hides the effect.
_STYLES = ("trained", "mixed")


def useless_context(subject: Subject, case: Case, seconds: float) -> tuple[str, ...]:
    """Return a line for the report if z and log-det do not depend on the context, else none."""
    if not subject.tail:
        return ()
    cases = [replace(case, style=style, batch=8) for style in _STYLES]
    found = [attempt(partial(_unmoved, subject, case), seconds)[0] for case in cases]
    if not all(found):
        return ()
    rows = sum(count or 0 for count in found)
    return (f"the context changes nothing: in {rows} samples z and log-det are as at another one",)


def _unmoved(subject: Subject, case: Case) -> int:
    """Count the rows whose context was exchanged and changed no bit; 0 if it changed any."""
    trial, tail = Trial(subject, case), subject.tail
    x = trial.x
    exchanged = torch.cat([x[:, :-tail], trial.sample(60)[:, -tail:]], dim=1)
    rows = int((exchanged != x).any(dim=1).sum())
    z, logdet = call(trial.layer, x)
    other, logdet_there = call(trial.layer, exchanged)
    same = identical(z[:, :-tail], other[:, :-tail]) and identical(logdet, logdet_there)
    return rows if same else 0
