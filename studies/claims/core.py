"""What a claim is: a doubt, a statement, the numbers it stands on, and what follows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from emcheck.bounds import Measure

#: A row of a table: column -> number or text.
Row = Mapping[str, Any]

_RELATIONS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": lambda value, bound: value <= bound,
    ">=": lambda value, bound: value >= bound,
    "==": lambda value, bound: value == bound,
}


@dataclass(frozen=True)
class Fact:
    """One number that a claim stands on: ``value relation bound``; NaN never holds.

    Args:
        what: what the number is, with its unit.
        value: as measured.
        relation: ``"<="``, ``">="`` or ``"=="``.
        bound: what it is compared with: a theorem's, a count, or a threshold of a rule.
    """

    what: str
    value: float
    relation: str
    bound: float

    def __post_init__(self) -> None:
        if self.relation not in _RELATIONS:
            raise ValueError(f"expected one of {', '.join(_RELATIONS)}, got {self.relation!r}")

    @property
    def holds(self) -> bool:
        return _RELATIONS[self.relation](self.value, self.bound)

    def __str__(self) -> str:
        return f"{self.what}: {show(self.value)} (expected {self.relation} {show(self.bound)})"


def rounding(what: str, measure: Measure) -> Fact:
    """That an error stays within the bound of its rounding rule."""
    return Fact(
        f"{what}, error over bound ({measure.rule})", measure.ratio, "<=", measure.threshold
    )


def show(value: float) -> str:
    """A number to four digits; whole ones as they are."""
    if math.isfinite(value) and value == int(value) and abs(value) < 1e7:
        return f"{int(value):,}"
    return f"{value:.4g}"


@dataclass(frozen=True)
class Evidence:
    """What was measured for a claim.

    Args:
        facts: all must hold.
        verdict: what follows if they do, one or two sentences with numbers.
        tables: name -> rows, for CSV files and pictures.
        missing: why nothing could be measured; empty if it was.
    """

    facts: Sequence[Fact]
    verdict: str
    tables: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    missing: str = ""

    @property
    def holds(self) -> bool:
        """Whether every fact holds; a claim without facts does not."""
        return bool(self.facts) and all(fact.holds for fact in self.facts)

    @property
    def conclusion(self) -> str:
        """The verdict, or why there is none."""
        if self.missing:
            return f"Not measured: {self.missing}."
        if self.holds:
            return self.verdict
        broken = "; ".join(str(fact) for fact in self.facts if not fact.holds)
        return f"Does not hold: {broken or 'nothing was measured'}."


@dataclass(frozen=True)
class Claim:
    """An answer to one doubt, which can be run and can fail.

    Args:
        letter: of the doubt.
        name: for the command line.
        doubt: the reader's, in a sentence.
        statement: what is claimed.
        measure: the evidence; the same numbers at every call.
        negations: name -> the evidence in a world where the statement is false. Each must make
            the claim fail, or the claim could not have failed at all.
    """

    letter: str
    name: str
    doubt: str
    statement: str
    measure: Callable[[], Evidence]
    negations: Mapping[str, Callable[[], Evidence]]
