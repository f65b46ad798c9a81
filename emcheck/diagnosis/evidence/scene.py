"""The findings on a failing layer, and the cases in which it is measured again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from emcheck.checks.calling import call
from emcheck.checks.case import Case, Subject
from emcheck.checks.trial import Trial
from emcheck.contract import Event
from emcheck.diagnosis.evidence.attempt import attempt
from emcheck.result import Result

#: Jacobians of events with more entries than this are not formed.
LARGEST = 120

#: Styles and batch sizes of the examples, in turn: both signs, and a B that is not C.
_STYLES = ("trained", "mixed", "trained", "mixed", "trained", "mixed")
_BATCHES = (3, 2, 1, 3, 1, 2)


@dataclass(frozen=True)
class Finding:
    """One FAIL and the case that shows it."""

    check: str
    case: Case
    result: Result


class Scene:
    """A failing layer with its findings, and cases like the failing ones in which to measure it.

    Everything is cached and deterministic; layers are fresh or copies.
    """

    def __init__(self, subject: Subject, findings: Sequence[Finding]) -> None:
        self.subject = subject
        self.findings = tuple(findings)
        self.failing = frozenset(finding.check for finding in findings)

    def case_of(self, *checks: str) -> Case:
        """The failing case of the first of these checks that failed."""
        for check in checks:
            for finding in self.findings:
                if finding.check == check:
                    return finding.case
        raise LookupError(f"expected a finding of {checks}, got {sorted(self.failing)}")

    def is_infinite(self, check: str) -> bool:
        """Whether a finding of this check has a number that is not finite, or none."""
        found = [f.result for f in self.findings if f.check == check]
        return any(not math.isfinite(result.got) for result in found)

    @cached_property
    def base(self) -> Case:
        """A small float64 case like the failing ones: parameters moved, three samples."""
        case = max((f.case for f in self.findings), key=lambda c: (len(set(c.event)), c.event))
        event = self._shrunk(case)
        return replace(
            case, event=event, batch=3, dtype=torch.float64, style="trained", scale="unit"
        )

    def _shrunk(self, case: Case) -> Event:
        event, step = list(case.event), self.subject.multiple(case)
        while math.prod(event) > LARGEST and max(event[1:], default=0) > step:
            largest = max(range(1, len(event)), key=lambda axis: event[axis])
            event[largest] -= step
        return tuple(event)

    def trial(self, case: Case | None = None) -> Trial:
        """A trial with a layer of its own."""
        return Trial(self.subject, case or self.base)

    @cached_property
    def spread(self) -> tuple[Case, ...]:
        """Cases like the base with other sizes (where the layer allows), seeds and styles."""
        events = self.events
        cases = []
        for n, (style, batch) in enumerate(zip(_STYLES, _BATCHES, strict=True)):
            event = events[n % len(events)]
            seed = self.base.seed + 7 * n
            cases.append(replace(self.base, event=event, style=style, batch=batch, seed=seed))
        return tuple(cases)

    @cached_property
    def events(self) -> tuple[Event, ...]:
        """The base's event and a few neighbours that the layer accepts."""
        kept = [self.base.event]
        for event in _neighbours(self.base.event, self.subject.multiple(self.base)):
            if event in kept or math.prod(event) > LARGEST or len(kept) == 4:
                continue
            if self.accepts(replace(self.base, event=event)):
                kept.append(event)
        return tuple(kept)

    def accepts(self, case: Case) -> bool:
        """Whether the layer can be called in this case at all, and broadcasts nothing."""
        trial = self.trial(case)
        answer = attempt(lambda: call(trial.layer, trial.x))
        if answer is None:
            return False
        return not self.subject.keeps_entries or answer[0].numel() == trial.x.numel()


def _neighbours(event: Event, step: int) -> Iterator[Event]:
    """Yield the event with its spatial axes reversed, then with one axis longer or shorter."""
    C, *space = event
    if not space:
        return
    yield (C, *reversed(space))
    for axis in range(len(space)):
        for change in (step, -step):
            moved = list(space)
            moved[axis] += change
            if min(moved) >= 1:
                yield (C, *moved)
