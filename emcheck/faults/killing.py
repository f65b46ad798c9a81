"""Which checks flag a fault, and whether its correct twin passes them."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch

from emcheck.bounds import THRESHOLDS
from emcheck.checks import CHECKS, Case, Subject, run_check
from emcheck.faults.core import FAULTS, Fault
from emcheck.faults.round_trip_test import usual_test
from emcheck.result import Ending, Result, Verdict, merge
from emcheck.specs import spec_for

#: Numbers of cases: for the named check, for the others, for those that cost the most.
NAMED, OTHERS, SLOW = 8, 2, {"compiled_agrees": 1, "density_integrates_to_one": 1}

_EVENTS = ((3, 4, 5), (4, 3, 6), (2, 5, 4), (5, 4, 3))
_STYLES = ("trained", "mixed", "initial", "mixed")
_DTYPES = (torch.float64, torch.float32)


@dataclass(frozen=True)
class Row:
    """The result of one check on one fault; where ``check == killer``, it decides the kill.

    ``usual`` is the verdict of the usual test of flow libraries on the fault, ``usual_twin``
    that on its twin: PASS, or FAIL if it complains. Both are the same in all rows of a fault.
    """

    fault: str
    provenance: str
    killer: str
    check: str
    verdict: Verdict
    ratio: float
    threshold: float
    twin_verdict: Verdict
    detail: str = ""
    twin_detail: str = ""
    crashed: bool = False
    usual: Verdict = Verdict.NOT_RUN
    usual_twin: Verdict = Verdict.NOT_RUN

    @property
    def kills(self) -> bool:
        """Whether the named check flagged the fault; a crash counts only if the fault raises."""
        crashed = self.crashed and not FAULTS[self.fault].raises
        return self.check == self.killer and self.verdict is Verdict.FAIL and not crashed

    def to_record(self) -> dict[str, Any]:
        """A flat dictionary of JSON types (non-finite numbers become strings)."""
        numbers = {"ratio": self.ratio, "threshold": self.threshold}
        return {
            "kind": "fault",
            "fault": self.fault,
            "provenance": self.provenance,
            "killer": self.killer,
            "check": self.check,
            "verdict": self.verdict.value,
            **{key: v if math.isfinite(v) else str(v) for key, v in numbers.items()},
            "twin_verdict": self.twin_verdict.value,
            "usual": self.usual.value,
            "usual_twin": self.usual_twin.value,
        }


def run_fault(fault: Fault, seed: int, checks: Iterable[str] | None = None) -> list[Row]:
    """Return one row for every check that applies to the fault and is among ``checks``.

    Args:
        fault: the fault to try.
        seed: the seed of the cases; the same seed gives the same rows.
        checks: names of checks; all if None.
    """
    subject, rows = fault.subject(), []
    usual, usual_twin = (_usual(s, seed, fault) for s in (subject, fault.twin_subject()))
    for name in CHECKS if checks is None else checks:
        if not CHECKS[name].applies(subject):
            continue
        result = _judge(fault, subject, name, seed, until_flagged=True)
        twin = _twin(_Twin(fault, seed, name, tuple(THRESHOLDS.values())))
        rows.append(
            Row(
                fault=fault.name,
                provenance=fault.provenance,
                killer=fault.check,
                check=name,
                verdict=result.verdict,
                ratio=result.ratio,
                threshold=result.threshold,
                twin_verdict=twin.verdict,
                detail=result.detail,
                crashed=result.ending is Ending.RAISED,
                twin_detail=twin.detail,
                usual=usual,
                usual_twin=usual_twin,
            )
        )
    return rows


def _usual(subject: Subject, seed: int, fault: Fault) -> Verdict:
    """Return the usual test's verdict on the fault or its twin, with the fault's fixed options."""
    return Verdict.FAIL if usual_test(subject, seed, fault.options) else Verdict.PASS


def _judge(fault: Fault, subject: Subject, check: str, seed: int, until_flagged: bool) -> Result:
    """Merge the results of a few cases, stopping at the first FAIL if ``until_flagged``."""
    results = []
    for case in _cases(fault, check, seed):
        results.append(run_check(CHECKS[check], subject, case))
        if until_flagged and results[-1].verdict is Verdict.FAIL:
            break
    return merge(results)


def _cases(fault: Fault, check: str, seed: int) -> Iterator[Case]:
    """Yield cases of various sizes, styles, dtypes and options; what the fault fixes stays fixed.

    The draw depends on the twin and not on the fault, so that each twin is run once.
    """
    stream = random.Random(f"{seed} {_situation(fault)}")
    count = NAMED if check == fault.check else SLOW.get(check, OTHERS)
    for n in range(count):
        drawn = {key: stream.choice(values) for key, values in spec_for(fault.twin).options.items()}
        options = {**drawn, **fault.options}
        multiple = int(options.get("factor", 1))
        C, H, W = _EVENTS[n % len(_EVENTS)]
        case = Case(
            event=(C, H * multiple, W * multiple),
            dtype=_DTYPES[n % len(_DTYPES)],
            style=_STYLES[n % len(_STYLES)],
            seed=stream.randrange(2**31),
            options=options,
        )
        yield replace(case, **fault.case)


def _situation(fault: Fault) -> str:
    """Return, as text, everything that the twin's results depend on."""
    fixed = sorted(fault.options.items()), sorted(fault.case.items())
    special = fault.spec is not None, fault.prepare is not None
    other_calls = f" {fault.correct.__name__}" if fault.correct else ""
    return f"{fault.twin.__name__} {fixed} {special}{other_calls}"


class _Twin:
    """A twin under one check, as a cache key that equals others in the same situation."""

    def __init__(self, fault: Fault, seed: int, check: str, thresholds: tuple[float, ...]) -> None:
        self.fault, self.seed, self.check = fault, seed, check
        self.key = (_situation(fault), seed, check, check == fault.check, thresholds)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Twin) and other.key == self.key


@cache
def _twin(twin: _Twin) -> Result:
    fault = twin.fault
    return _judge(fault, fault.twin_subject(), twin.check, twin.seed, until_flagged=False)
