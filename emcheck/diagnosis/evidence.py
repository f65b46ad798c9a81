"""Measurements that several hypotheses share, made when first asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from emcheck.bounds import THRESHOLDS, Arithmetic, dense_logdet
from emcheck.checks.calling import call, call_inverse
from emcheck.checks.case import Case, Subject
from emcheck.checks.trial import Trial
from emcheck.contract import Event
from emcheck.copying import copy_layer
from emcheck.diagnosis.attempt import attempt
from emcheck.diagnosis.examples import LogdetExample, logdet_examples
from emcheck.diagnosis.gradients_seen import Slope, slopes
from emcheck.diagnosis.maps import Maps, measure_maps
from emcheck.diagnosis.sizes_seen import SizeVerdict, size_verdicts

if TYPE_CHECKING:
    from emcheck.diagnosis.core import Finding

#: Jacobians of events with more entries than this are not formed.
LARGEST = 120

#: Rows of an image with pixels that a kernel of size 7 (or 5, 3) does not tie to the border.
_WIDE = (8, 6, 4)

#: Styles and batch sizes of the examples, in turn: signs of both kinds, B that is not C.
_STYLES = ("trained", "mixed", "trained", "mixed", "trained", "mixed")
_BATCHES = (3, 2, 1, 3, 1, 2)

OUTPUTS = ("latent", "logdet", "inverse", "inverse logdet")


class Evidence:
    """What is known and what can be measured about a failing layer.

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
        """Whether a finding of this check is a number that is not finite, or none at all."""
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
        """Whether the layer can be called in this case at all."""
        trial = self.trial(case)
        return attempt(lambda: call(trial.layer, trial.x)) is not None

    @cached_property
    def logdets(self) -> tuple[LogdetExample, ...]:
        """Log-dets of forward next to those of the explicit Jacobian."""
        return logdet_examples(self, inverse=False)

    @cached_property
    def inverse_logdets(self) -> tuple[LogdetExample, ...]:
        return logdet_examples(self, inverse=True)

    @cached_property
    def maps(self) -> tuple[Maps, ...]:
        """Jacobians of both directions, and of the definition where there is one."""
        return measure_maps(self, self.spread[:3])

    @cached_property
    def wide_maps(self) -> tuple[Maps, ...]:
        """The same for images large enough to have pixels far from the border."""
        C, *space = self.base.event
        if len(space) != 2:
            return ()
        step, C = self.subject.multiple(self.base), min(C, self.subject.fewest_channels(self.base))
        for side in _WIDE:
            event = (C, -(-side // step) * step, -(-(side + 1) // step) * step)
            if math.prod(event) <= 2 * LARGEST:
                break
        cases = [replace(self.base, event=event, seed=self.base.seed + n, batch=1) for n in (1, 2)]
        return measure_maps(self, [case for case in cases if self.accepts(case)]) or self.maps

    @cached_property
    def sizes(self) -> tuple[SizeVerdict, ...]:
        """At which sizes the failing kinds of checks pass and fail."""
        return size_verdicts(self)

    @cached_property
    def slopes(self) -> tuple[Slope, ...]:
        """Gradients of the four outputs by autograd next to central differences."""
        return slopes(self)

    def outputs(self, layer: nn.Module, x: Tensor, z: Tensor) -> dict[str, Tensor]:
        """The four outputs by name; an output whose call raises is left out."""
        found: dict[str, Tensor] = {}
        for names, run, given in ((OUTPUTS[:2], call, x), (OUTPUTS[2:], call_inverse, z)):
            answer = attempt(partial(run, layer, given.clone()))
            found.update(zip(names, answer or (), strict=False))
        return found

    def alike(self, a: Tensor, b: Tensor) -> bool:
        """Equal up to rounding, relative to the largest entry (rule T9, normwise)."""
        size = max(float(a.abs().max()), float(b.abs().max()))
        return bool(((a - b).abs() <= self.unit * size).all())

    @cached_property
    def unit(self) -> float:
        """``n kappa u`` of the base case with the threshold of T9."""
        condition = max((m.condition for m in self.maps), default=1.0)
        n = math.prod(self.base.event)
        return THRESHOLDS["T9"] * dense_logdet(n, condition, 1, 0.0, Arithmetic.of(torch.float64))

    @cached_property
    def sample_pair(self) -> tuple[Tensor, Tensor]:
        """Data of the base case and a latent to invert."""
        trial = self.trial()
        return trial.x, call(copy_layer(trial.layer), trial.sample(3))[0]


def _neighbours(event: Event, step: int) -> Iterator[Event]:
    """Turned around, one axis a little longer or shorter."""
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
