"""``check_layer``: every check that applies to one layer, without pytest."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from emcheck.checks import CHECKS, Case, Check, Subject, run_check
from emcheck.checks.calling import call
from emcheck.checks.trial import Trial
from emcheck.result import Result, Verdict, merge
from emcheck.spec import options_of

if TYPE_CHECKING:
    import pandas as pd

#: Parameter styles that every check is run in; ill-conditioned draws are drawn again, milder.
_STYLES = ("initial", "trained", "mixed")

#: Families in which an applicable check must pass at least once.
_MUST_PASS = ("values", "logdet")

Progress = Callable[[Check, Result], None]


@dataclass(frozen=True)
class Report:
    """The results of all checks on one layer.

    ``ok`` holds iff nothing FAILs or XPASSes and every applicable value and log-det check
    passed at least once.
    """

    layer: str
    shape: tuple[int, ...]
    seed: int
    results: tuple[Result, ...]

    @property
    def failures(self) -> tuple[Result, ...]:
        """Results that spoil the report."""
        spoiling = (Verdict.FAIL, Verdict.XPASS)
        return tuple(result for result in self.results if result.verdict in spoiling)

    @property
    def unproven(self) -> tuple[str, ...]:
        """Value and log-det checks that apply but never passed."""
        names: dict[str, bool] = {}
        for result in self.results:
            family = CHECKS[result.check].family
            if family in _MUST_PASS and result.verdict is not Verdict.UNSUPPORTED:
                passed = result.verdict is Verdict.PASS
                names[result.check] = names.get(result.check, False) or passed
        return tuple(name for name, passed in names.items() if not passed)

    @property
    def ok(self) -> bool:
        return not self.failures and not self.unproven and bool(self.results)

    @property
    def examples(self) -> int:
        return sum(result.examples for result in self.results)

    def to_frame(self) -> pd.DataFrame:
        """One row per check and dtype."""
        import pandas as pd  # half a second that nothing else here needs

        rows = [asdict(result) | {"verdict": str(result.verdict)} for result in self.results]
        return pd.DataFrame(rows)

    def __str__(self) -> str:
        counts = {v: sum(r.verdict is v for r in self.results) for v in Verdict}
        counted = ", ".join(f"{n} {verdict}" for verdict, n in counts.items() if n)
        lines = [
            f"{self.layer} on {self.shape}, seed {self.seed}: {'ok' if self.ok else 'NOT OK'}",
            f"{len(self.results)} results from {self.examples} examples: {counted}",
        ]
        told = (Verdict.FAIL, Verdict.XPASS, Verdict.NOTE, Verdict.ILL_CONDITIONED)
        for result in self.results:
            if result.verdict in told:
                lines.append(f"  {result.verdict:<15} {result.check} [{result.dtype}]")
                lines.append(f"    {_numbers(result)}{result.detail}".rstrip("; "))
                lines.append(f"    case: {result.case}")
        lines += [f"  never passed: {name}" for name in self.unproven]
        return "\n".join(lines)


def _numbers(result: Result) -> str:
    """The ratio, where it is more than a yes or no."""
    if math.isnan(result.threshold) or not math.isfinite(result.ratio):
        return ""
    return f"error / bound = {result.ratio:.3g} (at most {result.threshold:g}); "


def check_layer(
    layer: nn.Module,
    shape: Sequence[int],
    *,
    seed: int = 0,
    dtypes: Sequence[torch.dtype] = (torch.float32, torch.float64),
    progress: Progress | None = None,
) -> Report:
    """Run every check that applies to a layer, on deep copies of it.

    Args:
        layer: an ``nn.Module`` with ``forward(x) -> (z, logdet)`` and
            ``inverse(z) -> (x, logdet)``. It is left as it was.
        shape: the event ``(C, H, W)`` of the data.
        seed: of all random numbers; the same seed gives the same report.
        dtypes: what to check in.
        progress: called with each check and its result as it finishes.

    Raises:
        ValueError: something that is not such a module, a shape that is not ``(C, H, W)``, or
            a layer whose ``forward`` refuses that shape in every dtype.

    Cost: a few hundred calls of the layer and ``C H W`` backward passes per Jacobian.
    """
    _validate(layer, shape)
    subject = Subject.of_layer(layer)
    _try_forward(subject, layer, tuple(shape), seed, dtypes)
    results = []
    for check in CHECKS.values():
        if not check.applies(subject):
            continue
        by_dtype: dict[str, list[Result]] = {}
        for case in _cases(check, subject, layer, tuple(shape), seed, dtypes):
            result = _drawn_again(check, subject, case)
            by_dtype.setdefault(result.dtype, []).append(result)
        for found in by_dtype.values():
            results.append(merge(found))
            if progress is not None:
                progress(check, results[-1])
    return Report(subject.name, tuple(shape), seed, tuple(results))


def _validate(layer: nn.Module, shape: Sequence[int]) -> None:
    if isinstance(layer, type):
        raise ValueError(f"expected a layer, got the class {layer.__name__}: call it first")
    if not isinstance(layer, nn.Module) or not callable(getattr(layer, "inverse", None)):
        raise ValueError(f"expected a module with forward and inverse, got {type(layer).__name__}")
    whole = all(isinstance(size, int) and size >= 1 for size in shape)
    if len(shape) != 3 or not whole:
        raise ValueError(f"expected shape (C, H, W) of whole numbers >= 1, got {tuple(shape)}")


def _try_forward(
    subject: Subject,
    layer: nn.Module,
    shape: tuple[int, ...],
    seed: int,
    dtypes: Sequence[torch.dtype],
) -> None:
    """Nothing can be judged of a layer that takes no input of the shape at all."""
    C, H, W = shape
    refusal = None
    for dtype in dtypes:
        case = Case((C, H, W), 3, dtype, "cpu", "initial", "unit", seed, options_of(layer))
        trial = Trial(subject, case)
        try:
            call(trial.layer, trial.x)
            return
        except Exception as error:  # a layer may raise anything, and that is the answer
            refusal = " ".join(str(error).split())[:200] or type(error).__name__
    if refusal is not None:
        name = subject.name
        raise ValueError(f"expected a shape that {name} accepts, got {shape}: {refusal}")


def _cases(
    check: Check,
    subject: Subject,
    layer: nn.Module,
    shape: tuple[int, ...],
    seed: int,
    dtypes: Sequence[torch.dtype],
) -> Iterator[Case]:
    """Dtype by style; checks that adapt two cases to the same one run it once."""
    seen = set()
    for dtype in dtypes:
        for number, style in enumerate(_STYLES):
            C, H, W = shape
            case = Case((C, H, W), 3, dtype, "cpu", style, "unit", seed + number, options_of(layer))
            key = str(check.adapt(case, subject))
            if key not in seen:
                seen.add(key)
                yield case


def _drawn_again(check: Check, subject: Subject, case: Case, times: int = 3) -> Result:
    """An ill-conditioned draw is drawn again, milder, so that nobody escapes judgement."""
    result = run_check(check, subject, case)
    for attempt in range(times):
        if result.verdict is not Verdict.ILL_CONDITIONED:
            break
        milder = replace(case, style="trained", seed=case.seed + 1000 * (attempt + 1))
        result = run_check(check, subject, milder)
    return result
