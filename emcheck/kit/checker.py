"""One layer, its checks one by one, and the report of their results."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property

import torch
from torch import nn

from emcheck._internal.randomness import seeded
from emcheck.adapters import Adapted
from emcheck.adapters.conventions import ContextLike
from emcheck.checker import EXAMPLES, REPORT_LIMIT, TIME_LIMIT
from emcheck.checks import CHECKS, Case, Check, run_check
from emcheck.checks.case import Tolerance
from emcheck.checks.transforms import load_transforms
from emcheck.diagnosis import Finding, search
from emcheck.guard import foreign, raised_by
from emcheck.guard.surroundings import Surroundings
from emcheck.kit.cases import Plan
from emcheck.kit.discovery import Discovery, discover
from emcheck.kit.expected import mark_expected, validate_checks, validate_expected
from emcheck.kit.options import (
    DTYPES,
    built_in_time,
    known_dtypes,
    present_device,
    validate_numbers,
)
from emcheck.kit.own_names import (
    adapter_prefix,
    explanation_by_own_names,
    result_by_own_names,
)
from emcheck.kit.running import Limits, Runner
from emcheck.kit.sizes import context_fits
from emcheck.kit.target import Reference, Sample, make_subject, validate_shape
from emcheck.report import Report
from emcheck.result import Explanation, Result

#: Time for one hypothesis about a layer, in time limits of a check.
_DIAGNOSIS = 1.0


class Checker:
    """A layer and its checks, one by one; running the first check first calls the layer.

    Args: those of :func:`emcheck.check_layer`; ``only`` are the names of the checks to run, all
        that apply if empty; ``surroundings`` are those in which the layer was imported.

    Raises:
        ValueError: as :func:`emcheck.check_layer` does.
    """

    def __init__(
        self,
        layer: object,
        shape: Sequence[int],
        *,
        seed: int = 0,
        dtypes: Sequence[torch.dtype] = DTYPES,
        examples: int = EXAMPLES,
        reference: Reference | None = None,
        sample: Sample | None = None,
        capabilities: Mapping[str, bool] | None = None,
        context: ContextLike | None = None,
        tolerance: Tolerance | None = None,
        expected_failures: Mapping[str, str] | None = None,
        time_limit: float = TIME_LIMIT,
        report_limit: float = REPORT_LIMIT,
        compiled: bool = False,
        device: str = "cpu",
        only: Sequence[str] = (),
        surroundings: Surroundings | None = None,
    ) -> None:
        self.shape, self.seed, self.time_limit = validate_shape(shape), seed, time_limit
        self.expected = validate_expected(expected_failures)
        validate_numbers(seed, examples, time_limit=time_limit, report_limit=report_limit)
        self._compiled, self._examples = compiled, examples
        self._device = present_device(device)
        self._only = validate_checks(only)
        self.report_limit = report_limit
        #: The failures so far, from which a report is explained.
        self.findings: list[Finding] = []
        self.surroundings = surroundings or Surroundings()
        try:
            with self._region(), built_in_time(report_limit):
                self.subject = make_subject(
                    layer, shape, reference, sample, capabilities, context, tolerance
                )
                built = self.subject.build(Case(self.shape, seed=seed))
        except BaseException:
            self.close()
            raise
        self.dtypes = known_dtypes(built, dtypes)
        self._widest = built.widest if isinstance(built, Adapted) else None
        self._built: nn.Module | None = built

    @cached_property
    def found(self) -> Discovery:
        """What calls of the layer show; the first use makes these calls."""
        with self._region():
            load_transforms(self.subject.own)
            return discover(self.subject, self.shape, self.dtypes, self.seed, self.time_limit)

    @cached_property
    def plan(self) -> Plan:
        found, built = self.found, self._built
        assert built is not None
        self._built = None  # it may be large
        return Plan.of(
            found, built, self.shape, self.seed, self.dtypes, self._examples, self._device
        )

    @property
    def name(self) -> str:
        return self.subject.name

    @cached_property
    def runner(self) -> Runner:
        """What runs the checks, within the limits of time; the first use calls the layer."""
        start = time.monotonic()
        plan = self.plan
        left = self.report_limit - (time.monotonic() - start)
        limits = Limits(self.time_limit, self.report_limit, left)
        return Runner(plan, self._widest, limits, self.findings)

    @property
    def checks(self) -> tuple[Check, ...]:
        """The checks that apply, in the order in which they run."""
        return tuple(
            check
            for check in CHECKS.values()
            if check.applies(self.subject)
            and (self._compiled or not check.optional)
            and (not self._only or check.name in self._only)
        )

    def run(self, check: Check) -> list[Result]:
        """Return one result for each dtype: the worst of its examples, a FAIL shrunk.

        The report's limit does not count the time that a caller spends between two checks.
        """
        with self._region():
            results = self.runner.run(check)
        return [
            result_by_own_names(result, self._prefix)
            for result in mark_expected(results, self.expected)
        ]

    @cached_property
    def _prefix(self) -> str:
        """The prefix that adapters put before the names of the layer's parameters."""
        try:
            with self._region():
                return adapter_prefix(self.found.subject.build(Case(self.shape, seed=self.seed)))
        except ValueError:  # it refuses, or can be built once only: names stay as they are
            return ""

    def replay(self, check: Check, case: Case) -> Result:
        """Run one check on one case as the report did: same mode, same silent directions."""
        with self._region():
            try:
                unheard = self.runner.unheard(check, case.dtype, [case])
                subject = self.runner.subject(check, case.dtype)
            except ValueError:  # forward refuses this event: the check reports that
                unheard, subject = None, self.subject
            result = unheard or run_check(check, subject, case, self.time_limit)
            return result_by_own_names(result, self._prefix)

    @contextmanager
    def _region(self) -> Iterator[None]:
        """Run foreign code in a block: seeded, quiet, and under standard settings.

        Raises:
            ValueError: what it raises outside of a check, in one line.
        """
        with self.surroundings.standard(), seeded(self.seed):
            warnings.simplefilter("ignore")
            try:
                yield
            except ValueError:
                raise
            except foreign() as error:
                raise ValueError(f"the layer cannot be looked at: {raised_by(error)}") from error

    def close(self) -> None:
        """Put back what the layer has set for the process; the layer is no longer needed."""
        self.surroundings.leave()

    def report(self, results: Sequence[Result]) -> Report:
        """Return the results as a report, with failures explained."""
        asked = {result.check for result in results} - set(self.expected)
        findings = [found for found in self.findings if found.check in asked]
        explained, unexplained = self._explained(findings) if findings else ((), "")
        scope = self._scope()
        return Report(
            self.name, self.shape, self.seed, tuple(results), explained, scope, unexplained
        )

    def _explained(self, findings: list[Finding]) -> tuple[tuple[Explanation, ...], str]:
        """Return what fits the findings, and why nothing does if the search did not end."""
        # Explanations are sought where the fault shows, a mode's in the mode as given.
        loud = all(found.check in self.found.loud_in for found in findings)
        subject = replace(self.found.loud, coupled="") if loud else self.found.subject
        with self._region():
            found, finished = search(subject, findings, _DIAGNOSIS * self.time_limit)
        found = tuple(explanation_by_own_names(one, self._prefix) for one in found)
        late = "no explanation: the search for one ran out of time"
        return found, "" if finished or found else late

    def _scope(self) -> tuple[str, ...]:
        lines = list(self.found.notes)
        if isinstance(self.subject.original, Adapted):
            lines += self.subject.original.notes
        found = self.found.sizes
        for told, events in (
            ("also checked at {}", found.accepted),
            ("the layer refuses {}", [event for event, _ in found.refused]),
            ("not judged at {}, where it answers too", found.unjudged),
        ):
            if events:
                lines.append(told.format(", ".join("x".join(map(str, event)) for event in events)))
        if self.subject.context and not context_fits(self.subject) and len(self.found.event) > 1:
            lines.append("checked at this size alone: its context has one size")
        return tuple(lines)
