"""Verdicts by target, counted as the records come."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from emcheck.batch.backlog import Pair
from emcheck.batch.case import MatrixCase, Record
from emcheck.ok import never_passed, spoils
from emcheck.result import Verdict


@dataclass
class Tally:
    """The results of the cases, counted.

    Args:
        done: the cases that have a record.
        answered: the pairs of target and event of which a case has results.
        verdicts: target -> verdict -> how many results.
        failures: results that spoil, as records, with target and event.
        refused: case -> why it could not run.
    """

    done: set[MatrixCase] = field(default_factory=set)
    answered: set[Pair] = field(default_factory=set)
    verdicts: dict[str, Counter[Verdict]] = field(default_factory=lambda: defaultdict(Counter))
    failures: list[dict[str, Any]] = field(default_factory=list)
    refused: dict[MatrixCase, str] = field(default_factory=dict)
    _seen: dict[Pair, set[tuple[str, Verdict]]] = field(default_factory=lambda: defaultdict(set))

    def add(self, record: Record) -> None:
        """Count one record; each case counts once."""
        case = MatrixCase.of(record)
        if case in self.done:
            raise AssertionError(f"two records of {case}")
        self.done.add(case)
        if "reason" in record:
            self.refused[case] = record["reason"]
            return
        self.answered.add(case.pair)
        for result in record["results"]:
            verdict = Verdict(result["verdict"])
            self.verdicts[case.target][verdict] += 1
            self._seen[case.pair].add((result["check"], verdict))
            if spoils(result["check"], verdict, result.get("unfinished", 0)):
                self.failures.append({"target": case.target, "event": case.event, **result})

    def count(self, target: str) -> int:
        """Return how many cases of a target are done."""
        return sum(case.target == target for case in self.done)

    def unproven(self, target: str) -> list[tuple[Pair, str]]:
        """Return value and log-det checks that apply at an event and never passed there."""
        return [
            (pair, name)
            for pair, seen in self._seen.items()
            if pair[0] == target
            for name in never_passed(sorted(seen))
        ]

    def ok(self, target: str) -> bool:
        """Whether, as for a report, a check passed and nothing spoils, is unproven or refused."""
        counts = self.verdicts[target]
        spoilt = any(failure["target"] == target for failure in self.failures)
        refused = any(case.target == target for case in self.refused)
        passed = counts[Verdict.PASS] > 0
        return passed and not spoilt and not refused and not self.unproven(target)
