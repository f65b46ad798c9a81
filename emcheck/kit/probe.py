"""What a layer does when it is first called: which directions answer, at which sizes, how."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from emcheck.bounds import COUPLED, MOST_EXPLICIT
from emcheck.checks import Case, Subject
from emcheck.checks.calling import call, call_inverse
from emcheck.checks.limit import TimeLimit, time_limit
from emcheck.checks.trial import Trial
from emcheck.layer import Event
from emcheck.messages import one_line

#: Dimensions up to which every check runs at the given size; above, at a smaller one.
SMALL = 320

#: Samples in a batch that shows whether rows depend on each other.
_ROWS = 4


@dataclass(frozen=True)
class Probe:
    """What the checks are run on.

    Args:
        subject: with what was found: what is broken or coupled.
        loud: the subject as given, for the check that names the coupling itself.
        event: the size of most checks: the given one, or a smaller one.
        neighbours: other sizes that the layer accepts.
        refused: sizes that it does not, and why.
        silent: (direction, dtype) that does not answer, and why; empty if all do.
        notes: for the report.
    """

    subject: Subject
    loud: Subject
    event: Event
    neighbours: tuple[Event, ...] = ()
    refused: tuple[tuple[Event, str], ...] = ()
    silent: Mapping[tuple[str, torch.dtype], str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def probe(
    subject: Subject, event: Event, dtypes: Sequence[torch.dtype], seed: int, seconds: float
) -> Probe:
    """Call the layer a few times and see.

    Raises:
        ValueError: ``forward`` refuses the event in every dtype.
    """
    dtype, told = _first_answer(subject, event, dtypes, seed, seconds)
    if dtype is None:
        if told.startswith("forward did not return") or told.startswith("forward: expected"):
            silent = {("forward", one): told for one in dtypes}
            return Probe(subject, subject, event, silent=silent)
        raise ValueError(f"expected a shape that {subject.name} accepts, got {event}: {told}")
    case = Case(event, 3, dtype, "cpu", "initial", "unit", seed)
    answers = {one: _inverse_answer(subject, replace(case, dtype=one), seconds) for one in dtypes}
    silent = {("inverse", one): told for one, told in answers.items() if told}
    found = Probe(subject, subject, event, silent=silent)
    if len(silent) == len(dtypes):
        return found
    small, notes = _smaller(subject, replace(case, batch=1), seconds)
    neighbours, refused = _neighbours(subject, replace(case, event=small, batch=1), seconds)
    found = replace(found, event=small, neighbours=neighbours, refused=refused, notes=notes)
    return _coupling(found, replace(case, event=small, batch=_ROWS, style="trained"), seconds)


def _attempt(run: Callable[[], Any], seconds: float) -> tuple[Any, str]:
    """The answer, or None and why there is none in one line."""
    try:
        with warnings.catch_warnings(), time_limit(seconds):
            warnings.simplefilter("ignore")
            return run(), ""
    except TimeLimit:
        return None, f"did not return within {seconds:g} s"
    except Exception as error:  # a layer may raise anything, and that is the answer
        return None, one_line(error)


def _first_answer(
    subject: Subject, event: Event, dtypes: Sequence[torch.dtype], seed: int, seconds: float
) -> tuple[torch.dtype | None, str]:
    """The first dtype in which forward answers, or why it answers in none."""
    refusal = "no dtype to check in"
    for dtype in dtypes:
        case = Case(event, 3, dtype, "cpu", "initial", "unit", seed)

        def run(case: Case = case) -> Tensor:
            trial = Trial(subject, case)
            return call(trial.layer, trial.x)[0]

        z, told = _attempt(run, seconds)
        if z is not None:
            return dtype, ""
        refusal = f"forward {told}" if told.startswith("did not return") else told
    return None, refusal


def _inverse_answer(subject: Subject, case: Case, seconds: float) -> str:
    """Why the inverse never answers, from two draws; empty if it does or there is none."""
    if "inverse" in subject.lacks:
        return ""
    told = ""
    for number in range(2):
        told = _one_inverse(subject, replace(case, seed=case.seed + number), seconds)
        if not told:
            break
    return told


def _one_inverse(subject: Subject, case: Case, seconds: float) -> str:
    try:
        with warnings.catch_warnings(), time_limit(seconds):
            warnings.simplefilter("ignore")
            trial = Trial(subject, case)
            call_inverse(trial.layer, trial.latent)
    except TimeLimit:
        return f"inverse did not return within {seconds:g} s"
    except NotImplementedError:
        return ""  # each check says that it is unsupported
    except Exception as error:  # a layer may raise anything, and that is the answer
        return f"inverse raised {type(error).__name__}: {one_line(error)}"
    return ""


def _answers(subject: Subject, case: Case, seconds: float) -> str:
    """Why the layer does not take the case's event, empty if it does, there and back."""

    def run() -> None:
        trial = Trial(subject, case)
        z, _ = call(trial.layer, trial.x)
        if z.numel() != trial.x.numel():
            raise ValueError(f"{tuple(trial.x.shape)} became {tuple(z.shape)}")
        if trial.has("inverse"):
            call_inverse(trial.layer, z)

    return _attempt(run, seconds)[1]


def _smaller(subject: Subject, case: Case, seconds: float) -> tuple[Event, tuple[str, ...]]:
    """The largest event of at most ``SMALL`` dimensions that halving leads to, if accepted."""
    event = case.event
    n = math.prod(event)
    if n <= SMALL or len(event) == 1:
        return event, ()
    channels, space = event[0], list(event[1:])
    while channels * math.prod(space) > SMALL and max(space) > 1:
        axis = space.index(max(space))
        space[axis] = max(1, space[axis] // 2)
    small = (channels, *space)
    if small == event or channels * math.prod(space) > SMALL:
        return event, (f"large: {n} dimensions and no smaller size to check at",)
    told = _answers(subject, replace(case, event=small), seconds)
    if told or "other_sizes" in subject.lacks:
        why = subject.lacks.get("other_sizes", told)
        return event, (f"large: {n} dimensions; at {small} the layer is not checked ({why})",)
    way = "" if n <= MOST_EXPLICIT else " by random probes"
    note = f"large: {n} dimensions; checked at {small}, values and log-det also at full size{way}"
    return small, (note,)


def _neighbours(
    subject: Subject, case: Case, seconds: float
) -> tuple[tuple[Event, ...], tuple[tuple[Event, str], ...]]:
    if subject.any_size or "other_sizes" in subject.lacks or math.prod(case.event) > SMALL:
        return (), ()
    accepted, refused = [], []
    for event in _near(case.event):
        told = _answers(subject, replace(case, event=event), seconds)
        if told:
            refused.append((event, told))
        else:
            accepted.append(event)
    return tuple(accepted), tuple(refused)


def _near(event: Event) -> Iterator[Event]:
    """Sizes near an event: longer, odd or even, not square, a single entry."""
    C, *space = event
    if not space:
        return
    seen = {event}
    ones = [1] * len(space)
    longer = [size + 1 if axis else size for axis, size in enumerate(space)]
    doubled = [2 * size if axis == 0 else size for axis, size in enumerate(space)]
    odd = [size + 1 + axis if size % 2 == 0 else size + 2 * axis for axis, size in enumerate(space)]
    row = [1, *space[1:]]
    for sizes in (longer if len(space) > 1 else odd, odd, doubled, row, ones):
        if (C, *sizes) not in seen and C * math.prod(sizes) <= SMALL:
            seen.add((C, *sizes))
            yield (C, *sizes)


def _coupling(found: Probe, case: Case, seconds: float) -> Probe:
    """Whether z of a sample depends on the rest of its batch, as built and in eval mode."""
    subject = found.subject
    told, _ = _attempt(lambda: _coupled(subject, case), seconds)
    if not told:
        return found
    loud = replace(subject, coupled=told)
    evaluated = replace(subject, build=lambda case: subject.build(case).eval(), memo={})
    still, failed = _attempt(lambda: _coupled(evaluated, case), seconds)
    if still or failed:
        return replace(found, subject=loud, loud=loud, notes=(*found.notes, told))
    lacks = dict(subject.lacks) | {"modes": told}
    quiet = replace(evaluated, lacks=lacks)
    note = f"{told}; in eval mode they do not: all other checks run there"
    return replace(found, subject=quiet, loud=loud, notes=(*found.notes, note))


def _coupled(subject: Subject, case: Case) -> str:
    """How rows depend on each other, empty if they do not."""
    case = replace(case, dtype=torch.float64)
    trial = Trial(subject, case)
    x = trial.x
    others = torch.cat([x[:1], trial.sample(70)[1:]])
    z, again, moved = (_first(trial.new_layer(), v) for v in (x, x.clone(), others))
    size = z.abs().max()
    if not bool((again - z).abs().max() <= COUPLED * size):
        return ""  # random inside: that is another clause
    share = float((moved - z).abs().max() / size)
    if share > COUPLED:
        return f"rows of a batch depend on each other: other samples change z by {share:.1g}"
    try:
        call(trial.new_layer(), x[:1])
    except Exception as error:  # batch statistics of one sample
        return f"rows of a batch depend on each other: one alone is refused ({one_line(error)})"
    return ""


def _first(layer: nn.Module, x: Tensor) -> Tensor:
    """z of the first sample of a batch."""
    return call(layer, x)[0][0]
