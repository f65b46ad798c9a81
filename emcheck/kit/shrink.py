"""The smallest example that still fails."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from emcheck.checks import Case, Check, Subject, run_check
from emcheck.contract import Event
from emcheck.result import Ending, Result, Verdict

#: Most examples to shrink one failure: a count, so that a slow machine gives the same result.
_TRIES = 12


def shrink(
    check: Check, subject: Subject, case: Case, result: Result, sizes: Sequence[Event], limit: float
) -> tuple[Case, Result]:
    """Return a simpler case on which the check still fails in the same way, and its result.

    Tried in turn until nothing simpler fails: one sample, smaller sizes, trained-like
    parameters, a small seed. What raised must raise the same exception, and what gave a wrong
    number must give one.

    Args:
        check: the check that failed.
        subject: the layer that it failed on.
        case: the case as the check used it.
        result: the FAIL.
        sizes: events that the layer is known to accept, besides halves and single rows.
        limit: seconds for one example.

    Cost: at most 12 examples.
    """
    tries, simpler = 0, True
    while simpler:
        simpler = False
        for candidate in _simpler(case, subject, sizes):
            if tries >= _TRIES:
                return case, result
            tries += 1
            found = run_check(check, subject, candidate, limit)
            if found.verdict is Verdict.FAIL and _kind(found) == _kind(result):
                case, result, simpler = candidate, found, True
                break
    return case, result


def _kind(result: Result) -> str:
    """Return what went wrong, without its numbers."""
    if result.ending is Ending.RAISED:
        return re.sub(r"[\d., ()\[\]x]+", " ", result.detail)
    return result.rule


def _simpler(case: Case, subject: Subject, sizes: Sequence[Event]) -> Iterator[Case]:
    if case.batch > 1:
        yield replace(case, batch=1)
    for event in _smaller_events(case.event, subject, sizes):
        yield replace(case, event=event)
    if case.style not in ("initial", "trained"):
        # Not to initial values: what is nearly zero there shows little.
        yield replace(case, style="trained")
    for seed in range(min(case.seed, 2)):
        yield replace(case, seed=seed)


def _smaller_events(event: Event, subject: Subject, sizes: Sequence[Event]) -> Iterator[Event]:
    """Yield accepted sizes with fewer entries, then each side halved or single, smallest first."""
    if "other_sizes" in subject.lacks or subject.draw is not None:
        return
    C, *space = event
    found = set()
    # What a layer without a spec does at a size that it was not built for is no finding.
    for axis, size in enumerate(space if subject.spec is not None or sizes else ()):
        for less in {1, size // 2, size - 1}:
            if 1 <= less < size:
                found.add((C, *space[:axis], less, *space[axis + 1 :]))
    if space and (subject.spec is not None or sizes):
        found.add((C, *[1] * len(space)))
    found |= {other for other in sizes if all(a <= b for a, b in zip(other, event, strict=True))}
    found.discard(event)
    yield from sorted(found, key=lambda other: (math.prod(other), other))
