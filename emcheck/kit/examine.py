"""``check_layer``: every check that applies to one layer."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property

import torch

from emcheck.adapters import Adapted
from emcheck.checks import CHECKS, Case, Check, Subject, run_check
from emcheck.checks.capabilities import missing
from emcheck.checks.limit import TimeLimit, time_limit
from emcheck.diagnosis import Explanation, Finding, diagnose
from emcheck.kit.cases import Plan, run_mildly, too_large
from emcheck.kit.expected import mark_expected, validate_expected
from emcheck.kit.probe import Probe, probe
from emcheck.kit.report import Report
from emcheck.kit.shrink import shrink
from emcheck.kit.target import Reference, Sample, make_subject, seeded, validate_shape
from emcheck.result import Result, Verdict, merge

Progress = Callable[[Check, Result], None]

DTYPES = (torch.float32, torch.float64)

#: Cases for each check and dtype: one for each parameter style.
EXAMPLES = 4

#: Seconds for one check on one case: a hundred times what the slowest takes on a small layer.
TIME_LIMIT = 10.0

#: Time limits that the diagnosis of one layer may take.
_DIAGNOSIS = 3.0

#: The check that says of a direction that it does not answer.
_SAYS_SILENT = {"forward": "shapes_and_dtypes", "inverse": "inverse_undoes_forward"}


class Examination:
    """A layer and its checks, one by one; it is probed when the first is run.

    Args: those of :func:`check_layer`.

    Raises:
        ValueError: as :func:`check_layer` does.
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
        expected_failures: Mapping[str, str] | None = None,
        time_limit: float = TIME_LIMIT,
        compiled: bool = False,
    ) -> None:
        self.shape, self.seed, self.time_limit = validate_shape(shape), seed, time_limit
        self.expected = validate_expected(expected_failures)
        if examples < 1:
            raise ValueError(f"expected examples to be 1 or more, got {examples}")
        self._compiled, self._examples = compiled, examples
        self._findings: list[Finding] = []
        with _quiet(seed):
            self.subject = make_subject(layer, shape, reference, sample, capabilities)
            self._built = self.subject.build(Case(self.shape, seed=seed))
        self.dtypes = _dtypes(self._built, dtypes)

    @cached_property
    def found(self) -> Probe:
        """What calling the layer shows; the first use calls it."""
        with _quiet(self.seed):
            _load_transforms()
            return probe(self.subject, self.shape, self.dtypes, self.seed, self.time_limit)

    @cached_property
    def plan(self) -> Plan:
        parts = (self.found, self._built, self.shape, self.seed, self.dtypes, self._examples)
        return Plan.of(*parts)

    @property
    def name(self) -> str:
        return self.subject.name

    @property
    def checks(self) -> tuple[Check, ...]:
        """The checks that apply, in the order in which they run."""
        return tuple(
            check
            for check in CHECKS.values()
            if check.applies(self.subject) and (self._compiled or not check.optional)
        )

    def run(self, check: Check) -> list[Result]:
        """One result for each dtype: the worst of its examples, a FAIL shrunk."""
        results = []
        with _quiet(self.seed):
            for dtype in self.plan.dtypes:
                subject = self._subject(check, dtype)
                cases = self.plan.cases(check, subject, dtype)
                unheard = self._unheard(check, dtype, cases)
                if unheard is not None:
                    results.append(unheard)
                    continue
                found: list[tuple[Case, Result]] = []
                for case in cases:
                    found.append(self._one(check, subject, case))
                    if found[-1][1].verdict is Verdict.NOT_RUN:
                        break  # it did not end in time: it will not again
                if found:
                    results.append(self._merged(check, subject, found))
        return mark_expected(results, self.expected)

    def _subject(self, check: Check, dtype: torch.dtype) -> Subject:
        """What a check sees: coupling for the one that names it, what is silent in a dtype."""
        subject = self.found.loud if check.couples else self.found.subject
        told = self.found.silent.get(("inverse", dtype))
        if told is None:
            return subject
        return replace(subject, broken=dict.fromkeys(missing({"inverse": False}), told))

    def _one(self, check: Check, subject: Subject, case: Case) -> tuple[Case, Result]:
        reason = too_large(check, subject, case) or self._too_wide(check, subject, case)
        if reason and check.hindered(subject) is None:
            hindered = replace(subject, coupled=reason)
            return case, run_check(replace(check, couples=False), hindered, case)
        return run_mildly(check, subject, case, self.time_limit)

    def _too_wide(self, check: Check, subject: Subject, case: Case) -> str:
        """Why a check that computes in float64 is not run on constants rounded to float32."""
        widest = self._built.widest if isinstance(self._built, Adapted) else None
        if widest is None or check.adapt(case, subject).dtype in self.dtypes:
            return ""
        return f"the check computes in float64, and the layer keeps constants in {widest}"

    def _unheard(self, check: Check, dtype: torch.dtype, cases: list[Case]) -> Result | None:
        """What is said of a check where a direction does not answer: FAIL once, or NOT RUN."""
        told, direction = self.found.silent.get(("forward", dtype), ""), "forward"
        if not told and check.name == _SAYS_SILENT["inverse"]:
            told, direction = self.found.silent.get(("inverse", dtype), ""), "inverse"
        if not told or not cases:
            return None
        says, case = check.name == _SAYS_SILENT[direction], cases[0]
        return Result(
            check=check.name,
            layer=self.name,
            case=str(case),
            dtype=case.dtype_name,
            device=case.device,
            verdict=Verdict.FAIL if says else Verdict.NOT_RUN,
            ratio=math.inf,
            examples=int(says),
            detail=told,
            seed=case.seed,
            reproduce=_line(check, case) if says else "",
        )

    def _merged(self, check: Check, subject: Subject, found: list[tuple[Case, Result]]) -> Result:
        merged = merge([result for _, result in found])
        if merged.verdict is not Verdict.FAIL:
            return merged
        case = next(case for case, result in found if result.case == merged.case)
        case = check.adapt(case, subject)
        small = self.found.neighbours
        case, least = shrink(check, subject, case, merged, small, self.time_limit)
        self._findings.append(Finding(check.name, case, least))
        return replace(
            least,
            examples=merged.examples,
            ill_conditioned=merged.ill_conditioned,
            reproduce=_line(check, case),
        )

    def report(self, results: Sequence[Result]) -> Report:
        """The results as a report, failures explained."""
        asked = {result.check for result in results} - set(self.expected)
        findings = [found for found in self._findings if found.check in asked]
        explained = self._explained(findings) if findings else ()
        return Report(self.name, self.shape, self.seed, tuple(results), explained, self._scope())

    def _explained(self, findings: list[Finding]) -> tuple[Explanation, ...]:
        """What fits the findings; nothing where the layer does not answer in time."""
        coupled = any(CHECKS[found.check].couples for found in findings)
        # Explanations are sought where the fault shows: coupling, in the mode as given.
        subject = replace(self.found.loud, coupled="") if coupled else self.found.subject
        try:
            with _quiet(self.seed), time_limit(_DIAGNOSIS * self.time_limit):
                return diagnose(subject, findings)
        except TimeLimit:
            return ()

    def _scope(self) -> tuple[str, ...]:
        lines = list(self.found.notes)
        if self.found.neighbours:
            sizes = ", ".join("x".join(map(str, event)) for event in self.found.neighbours)
            lines.append(f"also checked at {sizes}")
        if self.found.refused:
            sizes = ", ".join("x".join(map(str, event)) for event, _ in self.found.refused)
            lines.append(f"the layer refuses {sizes}")
        return tuple(lines)


def check_layer(
    layer: object,
    shape: Sequence[int],
    *,
    seed: int = 0,
    dtypes: Sequence[torch.dtype] = DTYPES,
    examples: int = EXAMPLES,
    reference: Reference | None = None,
    sample: Sample | None = None,
    capabilities: Mapping[str, bool] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    time_limit: float = TIME_LIMIT,
    compiled: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Run every check that applies to a layer, on copies of it.

    Args:
        layer: a module with ``forward(x) -> (z, logdet)`` and ``inverse(z) -> (x, logdet)``; a
            layer of normflows, nflows, FrEIA, zuko or ``torch.distributions.transforms``; what
            :func:`emcheck.adapt` returns; or a function that returns a new layer, which makes
            the checks about fresh state complete. A layer is left exactly as it was.
        shape: the event, the shape of one sample: ``(D,)``, ``(C, L)``, ``(C, H, W)`` or
            ``(C, D, H, W)``.
        seed: of all random numbers; the same seed gives the same report.
        dtypes: what to check in.
        examples: cases for each check and dtype, in turn at initial, trained-like, mixed-sign
            and briefly optimised parameters.
        reference: ``reference(layer, x)`` or ``reference(x)``, an independent definition of
            ``z``; it switches on the checks that only a definition can do.
        sample: ``sample(batch, generator)`` draws data ``(batch, *shape)`` where the domain is
            not all of R^n.
        capabilities: name -> False for what the layer does not offer, see
            :data:`emcheck.checks.capabilities.CAPABILITIES`; checks that need it are UNSUPPORTED.
        expected_failures: check -> reason; a FAIL becomes XFAIL, a check that passes XPASS.
        time_limit: seconds for one check on one example.
        compiled: also compare with ``torch.compile``, which costs seconds.
        progress: called with each check and its result as it finishes.

    Raises:
        ValueError: what is no layer, a shape that is none, an unknown capability or check, or
            a layer whose ``forward`` refuses the shape in every dtype.

    Cost: a few hundred calls of the layer and ``n`` backward passes per Jacobian, of which
    there are some tens, for ``n`` dimensions.
    """
    examination = Examination(
        layer,
        shape,
        seed=seed,
        dtypes=dtypes,
        examples=examples,
        reference=reference,
        sample=sample,
        capabilities=capabilities,
        expected_failures=expected_failures,
        time_limit=time_limit,
        compiled=compiled,
    )
    results = []
    for check in examination.checks:
        for result in examination.run(check):
            results.append(result)
            if progress is not None:
                progress(check, result)
    return examination.report(results)


def reproduce(
    layer: object,
    check: str,
    case: str,
    *,
    reference: Reference | None = None,
    sample: Sample | None = None,
    capabilities: Mapping[str, bool] | None = None,
) -> Result:
    """One check on one case, as a failing report prints it.

    Raises:
        ValueError: an unknown check, a text that is no case, or what is no layer.
    """
    if check not in CHECKS:
        raise ValueError(f"expected the name of a check (emcheck list), got {check!r}")
    wanted = Case.parse(case)
    with _quiet(wanted.seed):
        subject = make_subject(layer, wanted.event, reference, sample, capabilities)
        return run_check(CHECKS[check], subject, wanted, TIME_LIMIT)


def _load_transforms() -> None:
    """Let torch load what its transforms need, some seconds at first.

    A time limit that strikes within an import leaves half a module behind.
    """
    x = torch.ones(2)
    torch.func.jvp(torch.sin, (x,), (x,))
    torch.func.vmap(torch.func.jacrev(torch.sin))(torch.ones(2, 2))
    leaf = x.clone().requires_grad_(True)
    torch.autograd.grad(leaf.sin(), leaf, torch.eye(2), is_grads_batched=True)


def _line(check: Check, case: Case) -> str:
    """The one line of Python that repeats a failure."""
    return f'emcheck.reproduce(layer, "{check.name}", "{case}")'


def _dtypes(layer: object, dtypes: Sequence[torch.dtype]) -> tuple[torch.dtype, ...]:
    """Those that the layer can hold: some keep constants of the dtype that they were made in."""
    known = [dtype for dtype in dtypes if dtype in DTYPES]
    if not known or len(known) != len(tuple(dtypes)):
        raise ValueError(f"expected dtypes among {[str(d) for d in DTYPES]}, got {list(dtypes)}")
    widest = layer.widest if isinstance(layer, Adapted) else None
    if widest is not None:
        known = [d for d in known if torch.finfo(d).bits <= torch.finfo(widest).bits] or known
    return tuple(known)


@contextmanager
def _quiet(seed: int) -> Iterator[None]:
    """Global random states put back afterwards, warnings of others' code kept quiet."""
    with seeded(seed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
