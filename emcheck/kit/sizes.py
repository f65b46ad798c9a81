"""The sizes at which a layer answers, besides the given one."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from emcheck.adapters import Adapted
from emcheck.bounds import MOST_EXPLICIT
from emcheck.checks import Case, Subject
from emcheck.checks.calling import call, call_inverse
from emcheck.checks.trial import Trial
from emcheck.contract import Event
from emcheck.kit.attempts import attempt

#: Every check runs at the given size up to this many dimensions; above, at a smaller size.
SMALL = 320


def _answers(subject: Subject, case: Case, seconds: float) -> str:
    """Return why the layer does not take the case's event in both directions, empty if it does."""

    def run() -> None:
        trial = Trial(subject, case)
        z, _ = call(trial.layer, trial.x)
        if z.numel() != trial.x.numel():
            kind = LostEntries if z.numel() < trial.x.numel() else ValueError
            raise kind(f"{tuple(trial.x.shape)} became {tuple(z.shape)}")
        if trial.has("inverse"):
            call_inverse(trial.layer, z)

    return attempt(run, seconds)[1]


#: What :func:`_answers` says of a size at which numbers are lost.
_LOST = re.compile(r"LostEntries")


def smaller(subject: Subject, case: Case, seconds: float) -> tuple[Event, tuple[str, ...]]:
    """Return the largest event of up to ``SMALL`` numbers by halving, if accepted, and a note."""
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


def context_fits(subject: Subject) -> bool:
    """Whether the context stays as it is at other sizes of the data: an image would not."""
    context = subject.context
    return bool(context and len(context.shape) == 1) and not isinstance(subject.original, Adapted)


@dataclass(frozen=True)
class Sizes:
    """What a layer does at other sizes.

    Args:
        accepted: those that it is built for.
        cut: those at which forward returns fewer numbers than it was given.
        refused: those that it does not accept, and why.
        divisor: the number that H and W have to be multiples of.
        unjudged: those at which it answers, for all that is known by accident.
    """

    accepted: tuple[Event, ...] = ()
    cut: tuple[Event, ...] = ()
    refused: tuple[tuple[Event, str], ...] = ()
    divisor: int = 1
    unjudged: tuple[Event, ...] = ()


def neighbours(subject: Subject, case: Case, seconds: float) -> Sizes:
    """Return what the layer does at sizes near that of the case."""
    if subject.any_size or "other_sizes" in subject.lacks or math.prod(case.event) > SMALL:
        return Sizes()
    if subject.context and not context_fits(subject):
        return Sizes()
    accepted: list[Event] = []
    cut: list[Event] = []
    refused: list[tuple[Event, str]] = []
    for event in _near(case.event):
        told = _answers(subject, replace(case, event=event), seconds)
        lost = _LOST.search(told)
        if not told:
            accepted.append(event)
        elif lost and subject.keeps_entries:
            cut.append(event)
        else:
            refused.append((event, told))
    divisor, answered = 1, accepted
    if subject.spec is None and (refused or len(case.event) < 3):
        # It is built for some sizes; others it takes by accident: by broadcasting, by a hard-coded
        # number, or by folding rows together.
        divisor, accepted = _divided(subject, case, [event for event, _ in refused], seconds)
    cut = [event for event in cut if _contains(event, case.event)]
    unjudged = [event for event in answered if event not in accepted]
    return Sizes(tuple(accepted), tuple(cut), tuple(refused), divisor, tuple(unjudged))


#: What a layer that splits, squeezes or halves its image may need its sizes to be multiples of.
_DIVISORS = (2, 3, 4, 8)


def _divided(
    subject: Subject, case: Case, refused: list[Event], seconds: float
) -> tuple[int, list[Event]]:
    """Return a divisor that tells the refused sizes from others, and those others, all accepted.

    A layer of one size that folds images into its own accepts multiples of it; none is tried.
    """
    space = case.event[1:]
    for d in _DIVISORS if len(space) > 1 else ():
        if any(size % d for size in space) or any(_divides(d, event) for event in refused):
            continue
        tried = [_other(case.event, axis, d) for axis in range(1, len(case.event))]
        found = [event for event in tried if event]
        if len(found) == len(tried) and not any(
            _answers(subject, replace(case, event=event), seconds) for event in found
        ):
            return d, found
    return 1, []


def _other(event: Event, axis: int, divisor: int) -> Event:
    """Return the event with one axis longer, or shorter, that no multiple is; empty if none is."""
    for step in (divisor, -divisor):
        other = (*event[:axis], event[axis] + step, *event[axis + 1 :])
        if 0 < math.prod(other) <= SMALL and math.prod(other) % math.prod(event):
            return other
    return ()


def _divides(divisor: int, event: Event) -> bool:
    return not any(size % divisor for size in event[1:])


def _contains(event: Event, other: Event) -> bool:
    return all(a >= b for a, b in zip(event, other, strict=True))


class LostEntries(ValueError):
    """Forward accepted a size silently and returned fewer numbers."""


def _near(event: Event) -> Iterator[Event]:
    """Yield sizes near an event: longer, odd or even, not square, a single entry."""
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
