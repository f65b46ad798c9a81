"""Verdicts, results and explanations: what a report says about a layer, readable without torch."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import Any


class Verdict(str, Enum):
    """The eight answers a check can give; FAIL and XPASS spoil a report, see :mod:`emcheck.ok`."""

    PASS = "PASS"
    FAIL = "FAIL"
    ILL_CONDITIONED = "ILL-CONDITIONED"
    UNSUPPORTED = "UNSUPPORTED"
    NOTE = "NOTE"
    XFAIL = "XFAIL"
    XPASS = "XPASS"
    NOT_RUN = "NOT RUN"

    def __str__(self) -> str:
        return self.value


class Ending(str, Enum):
    """How a check ended on an example."""

    JUDGED = "judged"
    RAISED = "raised"
    LATE = "late"
    INVERSE_LATE = "inverse late"

    @property
    def is_late(self) -> bool:
        """Whether the check ran out of time."""
        return self in (Ending.LATE, Ending.INVERSE_LATE)


#: Worst first: the verdict of several examples together is the first that occurs. NOT RUN outranks
#: PASS, so that a missing example is reported, not hidden by the others.
SEVERITY = (
    Verdict.FAIL,
    Verdict.XPASS,
    Verdict.NOT_RUN,
    Verdict.NOTE,
    Verdict.PASS,
    Verdict.XFAIL,
    Verdict.UNSUPPORTED,
    Verdict.ILL_CONDITIONED,
)


@dataclass(frozen=True, repr=False)
class Result:
    """The result of one check on one layer: the verdict and the numbers behind it.

    ``ratio`` is error over bound (dimensionless) and passes at or below ``threshold``;
    ``condition`` is the condition number that the check used (NaN where it needs none);
    ``examples`` counts the examples that ran, ``ill_conditioned`` those among them that
    were too ill-conditioned to judge, ``unfinished`` those that began and gave no answer (out
    of time, not implemented there); ``rule`` names the bound in :mod:`emcheck.bounds`.
    ``got``, ``expected`` and ``bound`` are the numbers of the worst entry (NaN for a yes or
    no), ``reproduce`` is one line of Python that repeats a failure, and ``ending`` distinguishes
    an answer from an exception and from a time limit.
    """

    check: str
    layer: str
    case: str
    dtype: str
    device: str
    verdict: Verdict
    ratio: float = math.nan
    threshold: float = math.nan
    condition: float = math.nan
    examples: int = 1
    ill_conditioned: int = 0
    unfinished: int = 0
    detail: str = ""
    seed: int = 0
    rule: str = ""
    got: float = math.nan
    expected: float = math.nan
    bound: float = math.nan
    reproduce: str = ""
    ending: Ending = Ending.JUDGED

    def __repr__(self) -> str:
        share = f", error / bound {self.ratio:.3g}" if self.threshold > 0 else ""
        return f"<Result {self.check} [{self.dtype}] of {self.layer}: {self.verdict}{share}>"

    def to_record(self) -> dict[str, Any]:
        """Return a flat dictionary of JSON types (non-finite numbers become strings)."""
        record = asdict(self)
        record |= {"verdict": self.verdict.value, "ending": self.ending.value}
        for key in ("ratio", "threshold", "condition", "got", "expected", "bound"):
            value = record[key]
            record[key] = value if math.isfinite(value) else str(value)
        return record


def excess(ratio: float, threshold: float) -> float:
    """Return error over threshold, too large above 1; NaN, which never passes, counts as infinite.

    With threshold 0, which allows no error at all, any error is infinitely large.
    """
    if threshold > 0 and not math.isnan(ratio):
        return ratio / threshold
    return 0.0 if ratio <= threshold else math.inf


def merge(results: list[Result]) -> Result:
    """Merge several examples of one check on one layer into the worst verdict and ratio.

    Ratio, threshold, case, seed and detail are those of the worst example, so that what is printed
    belongs together and can be reproduced. Where some examples passed and others began and gave no
    answer, the check is NOT RUN: those that passed do not make up for the missing ones.
    """
    if not results:
        raise ValueError("expected at least one result to merge, got none")

    def badness(result: Result) -> tuple[int, float]:
        ratio = result.ratio / result.threshold if result.threshold > 0 else result.ratio
        return -SEVERITY.index(result.verdict), -math.inf if math.isnan(ratio) else ratio

    worst = max(results, key=badness)
    unfinished = [result for result in results if result.unfinished]
    if unfinished and worst.verdict is Verdict.PASS:
        worst = replace(unfinished[0], verdict=Verdict.NOT_RUN)
    if unfinished and worst.verdict is Verdict.NOT_RUN:
        told = f"{worst.detail}: {len(unfinished)} of {len(results)} examples are missing"
        worst = replace(worst, detail=told)
    conditions = [r.condition for r in results if not math.isnan(r.condition)]
    return replace(
        worst,
        condition=max(conditions, default=math.nan),
        examples=sum(r.examples for r in results),
        ill_conditioned=sum(r.ill_conditioned for r in results),
        unfinished=sum(r.unfinished for r in results),
    )


@dataclass(frozen=True)
class Explanation:
    """A cause that fits every measured example.

    Args:
        cause: a slug, one of those that the hypotheses declare.
        text: one sentence for the author of the layer.
        evidence: one line with the numbers.
        checks: the failing checks that the cause accounts for.
    """

    cause: str
    text: str
    evidence: str
    checks: tuple[str, ...]
