"""``check_density``, which runs every check of a whole flow."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from emcheck._internal.randomness import seeded
from emcheck.adapters.conventions import Context, ContextLike
from emcheck.checker import TIME_LIMIT, run_checks
from emcheck.checks.core import with_measure
from emcheck.checks.unsupported import Unsupported
from emcheck.densities.causes import explained
from emcheck.densities.checks import DENSITY_CHECKS, DensityCheck
from emcheck.densities.flow import Flow
from emcheck.densities.support import Box, SupportLike
from emcheck.diagnosis import Finding
from emcheck.guard import TimeLimit, foreign, one_line, time_limit
from emcheck.guard.surroundings import Surroundings, settings_kept
from emcheck.kit.expected import mark_expected, validate_checks, validate_expected
from emcheck.kit.target import validate_shape
from emcheck.report import Report
from emcheck.result import Ending, Result, Verdict, merge

#: Contexts at which a conditional density is checked.
CONTEXTS = 3

#: Seconds for one check, which draws tens of thousands of samples.
DENSITY_LIMIT = 6 * TIME_LIMIT


def check_density(
    flow: object,
    shape: Sequence[int],
    *,
    context: ContextLike | None = None,
    support: SupportLike | None = None,
    seed: int = 0,
    expected_failures: Mapping[str, str] | None = None,
    time_limit: float = DENSITY_LIMIT,
) -> Report:
    """Check that ``log_prob`` is a density and that samples follow it; return the report.

    The checks are those of :data:`emcheck.densities.DENSITY_CHECKS`: samples and their ``log_prob``
    are finite; ``log_prob`` takes samples as they are drawn; samples are reproducible; rows are
    independent; the gradient is right; ``log_prob`` is base plus log-det where both can be reached;
    the integral is 1, on a grid or by draws; and around several samples as many others lie as
    ``log_prob`` says. A statistical check fails if a value is six standard errors off twice in a
    row, with new draws, so a right flow fails less than once in 1e6 reports; its result says what
    would have been found.

    Args:
        flow: anything with ``log_prob(x)`` and ``sample(n)`` or ``sample((n,))``: a flow of nflows,
            normflows or zuko, a ``torch.distributions`` distribution, a module of your own, or a
            function that returns one. It is copied.
        shape: the shape of one sample.
        context: for a conditional density, as for :func:`emcheck.check_layer`; it is checked
            at three contexts.
        support: ``(low, high)``, numbers or arrays of the shape: outside of it the density is 0.
            Left out, it is the support that a ``torch.distributions`` distribution states; or,
            where ``log_prob`` integrates to 1 over the box of the samples and to more beyond it,
            that box, which the report then names.
        seed: random seed; the same seed gives the same report.
        expected_failures: check -> reason; a FAIL becomes XFAIL, a check that passes XPASS.
        time_limit: seconds for one check.

    Raises:
        ValueError: ``flow`` has no ``log_prob``, or ``shape``, ``context`` or ``support`` is not
            valid.

    Cost: 1e4 samples for a statistical check, 4e4 to 8e5 values of ``log_prob`` for the integral.
    """
    checker = DensityChecker(
        flow,
        shape,
        context=context,
        support=support,
        seed=seed,
        expected_failures=expected_failures,
        time_limit=time_limit,
    )
    try:
        return run_checks(checker)
    finally:
        checker.close()


class DensityChecker:
    """A whole flow and its checks, one by one.

    Args: those of :func:`check_density`; ``only`` are the names of the checks to run, all of them
        if empty; ``surroundings`` are those in which the flow was imported.

    Raises:
        ValueError: as :func:`check_density` does.
    """

    def __init__(
        self,
        flow: object,
        shape: Sequence[int],
        *,
        context: ContextLike | None = None,
        support: SupportLike | None = None,
        seed: int = 0,
        expected_failures: Mapping[str, str] | None = None,
        time_limit: float = DENSITY_LIMIT,
        only: Sequence[str] = (),
        surroundings: Surroundings | None = None,
    ) -> None:
        self.shape, self.seed, self.time_limit = validate_shape(shape), seed, time_limit
        self.expected = validate_expected(expected_failures, DENSITY_CHECKS)
        chosen = validate_checks(only, DENSITY_CHECKS) or DENSITY_CHECKS
        self.checks = tuple(check for name, check in DENSITY_CHECKS.items() if name in chosen)
        self.conditional = context is not None
        box = None if support is None else Box.of(support, self.shape)
        #: Always empty: a report is explained from its results.
        self.findings: list[Finding] = []
        self.surroundings = surroundings or Surroundings()
        try:
            with self._region():
                self._flows = list(_flows(flow, self.shape, context, box, seed))
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        return self._flows[0].name

    def run(self, check: DensityCheck) -> list[Result]:
        """Return one result, the worst over the contexts."""
        with self._region():
            found = [
                _run(check, flow, self.seed, number, self.time_limit)
                for number, flow in enumerate(self._flows)
            ]
        return mark_expected([merge(found)], self.expected)

    def report(self, results: Sequence[Result]) -> Report:
        """Return the results as a report, with failures explained."""
        dtype = str(self._flows[0].dtype).removeprefix("torch.")
        scope = [f"a density on {self.shape}, {dtype}"]
        if self.conditional:
            scope.append(f"at {len(self._flows)} contexts")
        if (box := self._flows[0].support) is not None:
            found = ", where samples lie and log_prob is a density" if box.missed else ""
            scope.append(f"0 outside of {box}{found}")
        with self._region():
            causes = tuple(explained(self._flows, results, self.seed))
        return Report(self.name, self.shape, self.seed, tuple(results), causes, tuple(scope))

    def close(self) -> None:
        """Put back what the flow has set for the process; the flow is no longer needed."""
        self.surroundings.leave()

    @contextmanager
    def _region(self) -> Iterator[None]:
        """Run the flow's code in a block: seeded and under standard settings.

        Raises:
            ValueError: what it raises outside of a check, in one line.
        """
        with self.surroundings.standard(), seeded(self.seed):
            try:
                yield
            except ValueError:
                raise
            except foreign() as error:
                told = f"{type(error).__name__}: {one_line(error)}"
                raise ValueError(f"expected a flow on {self.shape}, got {told}") from error


def _flows(
    flow: Any, event: tuple[int, ...], context: ContextLike | None, box: Box | None, seed: int
) -> Iterator[Flow]:
    factory = isinstance(flow, type) or not (
        hasattr(flow, "log_prob") or isinstance(flow, nn.Module)
    )
    made = flow() if factory and callable(flow) else flow
    if context is None:
        yield Flow(made, event, support=box)
        return
    given = Context.of(context)
    drawn = given.draw(CONTEXTS, torch.Generator().manual_seed(seed))
    restored: Tensor = given.restored(drawn)
    for one in restored:
        yield Flow(made, event, one, box)


def _run(check: DensityCheck, flow: Flow, seed: int, number: int, seconds: float) -> Result:
    case = f"seed={seed}" if flow.context is None else f"context {number} seed={seed}"
    dtype = str(flow.dtype).removeprefix("torch.")
    result = Result(check.name, flow.name, case, dtype, "cpu", Verdict.FAIL, seed=seed)
    try:
        with settings_kept(), time_limit(seconds):
            measure = check.function(flow, seed + 100 * number)
    except Unsupported as reason:
        unsupported = replace(result, verdict=Verdict.UNSUPPORTED, examples=0)
        return replace(unsupported, detail=str(reason))
    except TimeLimit:
        told = f"the check did not end within {seconds:g} s"
        late = replace(result, verdict=Verdict.NOT_RUN, examples=0, unfinished=1)
        return replace(late, detail=told, ending=Ending.LATE)
    except foreign() as error:
        told = f"raised {type(error).__name__}: {one_line(error)}"
        return replace(result, ratio=math.inf, detail=told, ending=Ending.RAISED)
    verdict = Verdict.PASS if measure.ok else Verdict.FAIL
    if measure.ill_conditioned and not measure.ok:
        verdict = Verdict.ILL_CONDITIONED
    return with_measure(result, measure, verdict)
