"""The mode in which a layer is a function of its input, row by row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from emcheck._internal.randomness import SEEDS, seeded
from emcheck.bounds import COUPLED
from emcheck.checks import Case, Subject
from emcheck.checks.calling import call
from emcheck.checks.core import identical
from emcheck.checks.trial import Trial
from emcheck.guard import foreign, one_line
from emcheck.kit.attempts import answer_of_inverse, attempt
from emcheck.kit.starting import evaluated


@dataclass(frozen=True)
class Mode:
    """The mode that a layer is judged in.

    Args:
        subject: the subject in that mode.
        loud: the subject in the mode as given.
        loud_in: check -> why, for the check that judges the mode as given.
        notes: lines for the report.
    """

    subject: Subject
    loud: Subject
    loud_in: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def find_mode(subject: Subject, case: Case, seconds: float) -> Mode:
    """Return the mode in which a layer is a function of its input, row by row, if there is one.

    A layer whose training mode couples the rows of a batch, draws random numbers, changes what its
    outputs read, or cannot invert, is judged in evaluation mode if that does none of this; the one
    check that reports it judges the mode as given.
    """
    as_given = Mode(subject, subject)
    if subject.own and not _trains(subject, case):
        return as_given
    where, told = _trouble(subject, case, seconds)
    if not told:
        return as_given
    loud = replace(subject, coupled=told) if where == "rows_are_independent" else subject
    loud_in = {where: told} if where else {}
    still = replace(subject, build=partial(evaluated, subject), memo={})
    if _trouble(still, case, seconds)[1]:
        if where != "rows_are_independent":
            return as_given  # in both modes: every check says so
        return Mode(loud, loud, loud_in, (told,))
    quiet = replace(still, lacks={**subject.lacks, "modes": told})
    note = f"{told}; in eval mode it is not so: all other checks run there"
    return Mode(quiet, loud, loud_in, (note,))


def _trains(subject: Subject, case: Case) -> bool:
    """Whether a layer is built in training mode."""
    return subject.build(case).training


def _trouble(subject: Subject, case: Case, seconds: float) -> tuple[str, str]:
    """Return the check that reports what is wrong with a mode, and what is; empty if nothing is.

    If only the inverse refuses, no check reports it.
    """
    wide = replace(case, dtype=torch.float64 if subject.doubles else case.dtype)
    steps = (
        ("calls_are_deterministic", lambda: _random(subject, wide)),
        ("rows_are_independent", lambda: coupled(subject, wide)),
        ("calls_are_pure", lambda: _moving(subject, wide)),
        ("", lambda: _refuses(subject, replace(wide, style="initial"), seconds)),
    )
    for name, step in steps:
        told, _ = attempt(step, seconds)
        if told:
            return name, told
    return "", ""


def _random(subject: Subject, case: Case) -> str:
    """Say that a call draws random numbers, if equal copies differ by the global seeds."""
    trial = Trial(subject, case)
    values = [_forward(trial, trial.x, seed) for seed in range(1, SEEDS + 1)]
    same = all(identical(values[0], value) for value in values)
    return "" if same else "a call draws random numbers: equal layers differ"


def _forward(trial: Trial, x: Tensor, seed: int = 1) -> Tensor:
    """The latents of a fresh layer, under the same global seeds each time."""
    with seeded(seed):
        return call(trial.new_layer(), x)[0]


def _moving(subject: Subject, case: Case) -> str:
    """Say that a call changes the state, if the same call then gives something else."""
    trial = Trial(subject, case)
    layer = trial.new_layer()
    before = {
        name: value.clone()
        for name, value in layer.state_dict().items()
        if isinstance(value, Tensor)
    }
    first, again = (call(layer, trial.x) for _ in range(2))
    if all(map(identical, first, again)):
        return ""
    after = layer.state_dict()
    names = [f"`{n}`" for n in before if n in after and not identical(after[n], before[n])]
    if not names:
        return ""
    kind = "spectral normalisation: " if any("_u`" in n or "._v`" in n for n in names) else ""
    return f"every call changes {', '.join(names)}, which outputs read ({kind}a running value)"


def _refuses(subject: Subject, case: Case, seconds: float) -> str:
    """Return why the inverse raises, empty if it does not or is not implemented."""
    if "inverse" in subject.lacks:
        return ""
    answer = answer_of_inverse(subject, case, seconds)
    if isinstance(answer, NotImplementedError) or not isinstance(answer, Exception):
        return ""
    return f"inverse raises {type(answer).__name__}: {one_line(answer)}"


def coupled(subject: Subject, case: Case) -> str:
    """Return how rows depend on each other, empty if they do not."""
    trial = Trial(subject, case)
    x = trial.x
    z, again = (_forward(trial, v) for v in (x, x.clone()))
    size = z[z.isfinite()].abs().max() if bool(z.isfinite().any()) else z.new_ones(())
    if not bool((again - z)[z.isfinite()].abs().max() <= COUPLED * size):
        return ""  # random inside: another check reports that
    others = trial.sample(70)
    for kept in (0, len(x) - 1):
        mixed = others.clone()
        mixed[kept] = x[kept]
        moved = _forward(trial, mixed)
        share = float(torch.nan_to_num(moved[kept] - z[kept]).abs().max() / size)
        if share > COUPLED:
            return f"rows of a batch depend on each other: other samples change z by {share:.1g}"
    try:
        call(trial.new_layer(), x[:1])
    except foreign() as error:  # batch statistics of one sample
        return f"rows of a batch depend on each other: one alone is refused ({one_line(error)})"
    return ""
