"""The cases in which a check runs on a layer."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import nn

from emcheck.bounds import MOST_EXPLICIT
from emcheck.checks import Case, Check, Subject, run_check
from emcheck.contract import Event
from emcheck.kit.discovery import Discovery
from emcheck.kit.sizes import SMALL
from emcheck.result import Ending, Result, Verdict
from emcheck.specs.core import options_of

#: Parameter styles, taken in turn; a milder draw replaces an ill-conditioned one.
STYLES = ("initial", "trained", "mixed", "optimised")

#: Families whose checks also run at the neighbours of the given size.
_OF_SIZE = ("values", "logdet")

#: Checks that also run at the full size of a large layer; for a layer with a spec, those that need
#: no dense matrix of it.
_FULL_SIZE = ("shapes_and_dtypes", "logdet_matches_jacobian", "inverse_undoes_forward")
_FULL_SIZE_DEFINED = (
    "shapes_and_dtypes",
    "logdet_matches_definition",
    "forward_matches_definition",
    "inverse_backward_error",
)

#: Scales of wider data, and the number of samples of each.
_WIDE = (("wide4", 4), ("wide16", 4), ("wide64", 3), ("wide64", 1))

#: Draws of signs besides that of the styles: they miss a sign of the determinant 1 time in 16.
_SIGNED = 3

#: Checks of gradients that also run on wide data.
_WIDE_GRADIENTS = ("gradient_of_latent", "gradient_of_logdet")

#: How often an ill-conditioned draw is drawn again.
_AGAIN = 3


@dataclass(frozen=True)
class Plan:
    """The parts from which cases are made.

    Args:
        found: what calling the layer has shown.
        shape: the event shape as given.
        seed: the seed of the first case; the others follow.
        dtypes: the dtypes to check in.
        examples: the number of cases for each check and dtype, neighbours not counted.
        constant: whether the layer has no parameter that could move.
        options: the options of a registered layer.
        device: where the layer and its data are.
    """

    found: Discovery
    shape: Event
    seed: int
    dtypes: tuple[torch.dtype, ...]
    examples: int
    constant: bool
    options: dict[str, object]
    device: str = "cpu"

    @classmethod
    def of(
        cls,
        found: Discovery,
        layer: nn.Module,
        shape: Event,
        seed: int,
        dtypes: tuple[torch.dtype, ...],
        examples: int,
        device: str = "cpu",
    ) -> Plan:
        movable = any(p.requires_grad for p in layer.parameters())
        options = options_of(layer)
        return cls(found, shape, seed, dtypes, examples, not movable, options, device)

    def cases(self, check: Check, subject: Subject, dtype: torch.dtype) -> list[Case]:
        """Return cases of every style, neighbours and full size; those adapted alike run once.

        A check that always runs in one dtype is filed under that one.
        """
        found: dict[str, Case] = {}
        more = (*self._signed(check, dtype), *self._widened(check, dtype))
        every = (*self._styled(dtype), *more, *self._sized(check, dtype))
        for case in every:
            adapted = check.adapt(case, subject)
            if adapted.dtype == dtype or adapted.dtype not in self.dtypes:
                found.setdefault(str(adapted), case)
        return list(found.values())

    def _signed(self, check: Check, dtype: torch.dtype) -> Iterator[Case]:
        """Yield more draws of either sign, for layers that do not say which signs they allow."""
        if self.found.subject.spec is None and check.family in _OF_SIZE and not self.constant:
            for number in range(_SIGNED):
                yield self._case(self.found.event, 2, dtype, "mixed", 50 + number)

    def _styled(self, dtype: torch.dtype) -> Iterator[Case]:
        event = self.found.event
        batch = min(size for size in (2, 3, 4, 5, 6) if size not in event)
        count = min(self.examples, 2) if self.constant else self.examples
        for number in range(count):
            style = STYLES[number % len(STYLES)]
            yield self._case(event, batch, dtype, style, number)

    def _widened(self, check: Check, dtype: torch.dtype) -> Iterator[Case]:
        """Yield data several times as wide, for layers whose domain is unknown."""
        subject = self.found.subject
        unknown = subject.spec is None and subject.anywhere
        if not unknown or not (check.family in _OF_SIZE or check.name in _WIDE_GRADIENTS):
            return
        for number, (scale, batch) in enumerate(_WIDE):
            case = self._case(self.found.event, batch, dtype, "trained", 30 + number)
            yield replace(case, scale=scale)

    def _sized(self, check: Check, dtype: torch.dtype) -> Iterator[Case]:
        widest = max(self.dtypes, key=lambda dtype: torch.finfo(dtype).bits)
        # One is enough to tell a matter of size from one of precision.
        accepted = self.found.sizes.accepted
        sizes = accepted if dtype == widest else accepted[:1]
        if check.family in _OF_SIZE:
            for number, event in enumerate(sizes):
                yield self._case(event, 1, dtype, "trained", 10 + number)
        if dtype != widest:
            return
        if check.name == "shapes_and_dtypes":
            yield self._case(self.found.event, 1, widest, "initial", 39)
            for number, event in enumerate(self.found.sizes.cut):
                yield self._case(event, 2, widest, "initial", 40 + number)
        if check.name in full_size(self.found.subject) and self.shape != self.found.event:
            yield self._case(self.shape, 1, widest, "trained", 20)

    def _case(self, event: Event, batch: int, dtype: torch.dtype, style: str, number: int) -> Case:
        seed = self.seed + number
        return Case(event, batch, dtype, self.device, style, "unit", seed, self.options)


def full_size(subject: Subject) -> tuple[str, ...]:
    """Return the checks that run at the full size of a large layer."""
    return _FULL_SIZE if subject.spec is None else _FULL_SIZE_DEFINED


def too_large(check: Check, subject: Subject, case: Case) -> str:
    """Return why a check is not run on a large event, empty if it is."""
    n = math.prod(case.event)
    if n <= SMALL or check.name in full_size(subject):
        return ""
    return f"{n} dimensions are too many for this check, and the layer takes no smaller size"


def run_mildly(check: Check, subject: Subject, case: Case, seconds: float) -> tuple[Case, Result]:
    """Return the case and its result; a milder draw replaces an ill-conditioned one.

    This keeps a layer from escaping judgement by being ill-conditioned.
    """
    result = run_check(check, subject, case, seconds)
    if case.wide:
        return case, _within_domain(result)
    for attempt in range(_AGAIN if math.prod(case.event) <= MOST_EXPLICIT else 0):
        if result.verdict is not Verdict.ILL_CONDITIONED:
            break
        case = replace(case, style="trained", seed=case.seed + 1000 * (attempt + 1))
        result = run_check(check, subject, case, seconds)
    return case, result


#: How a layer says that data are outside its domain, which is no fault on wide data.
_REFUSAL = re.compile(
    r"ValueError|AssertionError|domain|range|outside|out of bounds|support", re.IGNORECASE
)


def _within_domain(result: Result) -> Result:
    """Return the result on wide data; a layer that clearly refuses them is not wrong."""
    raised = result.verdict is Verdict.FAIL and result.ending is Ending.RAISED
    if not raised or not _REFUSAL.search(result.detail):
        return result
    told = f"outside the domain: wide data are refused ({result.detail})"
    refused = Verdict.ILL_CONDITIONED
    return replace(result, verdict=refused, detail=told, ill_conditioned=1, ratio=math.nan)
