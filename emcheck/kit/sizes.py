"""The sizes at which a layer answers, besides the given one."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace

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


def neighbours(
    subject: Subject, case: Case, seconds: float
) -> tuple[tuple[Event, ...], tuple[Event, ...], tuple[tuple[Event, str], ...]]:
    """Return sizes that the layer accepts, those at which it loses numbers, those it refuses."""
    if subject.any_size or "other_sizes" in subject.lacks or math.prod(case.event) > SMALL:
        return (), (), ()
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
    if subject.spec is None and (refused or len(case.event) < 3):
        # It is built for some sizes; others it takes by accident: by broadcasting, by a hard-coded
        # number, or by folding rows together.
        accepted = []
    cut = [event for event in cut if _contains(event, case.event)]
    return tuple(accepted), tuple(cut), tuple(refused)


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
