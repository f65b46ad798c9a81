"""The checks by name, family, clause and summary, available without loading their code."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Clause(IntEnum):
    """The eight clauses of the contract of a layer, by number; 0 is the layer's own definition.

    ``docs/contract.md`` says what each clause promises; a failure names its clause.
    """

    DEFINITION = 0
    SHAPES = 1
    LOGDET_SHAPE = 2
    LOGDET = 3
    INVERSE = 4
    ROWS = 5
    PURITY = 6
    GRADIENTS = 7
    ERRORS = 8

    def __str__(self) -> str:
        return f"clause {self.value} ({_TITLES[self]})" if self else _TITLES[self]


_TITLES = (
    "the layer's definition", "shapes", "one log-det per sample", "log-determinant",
    "round trip", "independent rows", "pure calls", "gradients", "clear errors",
)  # fmt: skip


@dataclass(frozen=True)
class KnownCheck:
    """The description of a check that runs elsewhere or is not loaded."""

    name: str
    family: str
    clause: Clause
    summary: str


#: Checks by name. :mod:`emcheck.checks` adds its own; another process sends those of its layer.
KNOWN: dict[str, KnownCheck] = {}


def make_known(name: str, family: str, clause: int, summary: str) -> KnownCheck:
    """Add a check to ``KNOWN`` and return it."""
    KNOWN[name] = KnownCheck(name, family, Clause(clause), summary)
    return KNOWN[name]
