"""The checks by name, family, clause and summary, known without loading what they are made of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Clause(IntEnum):
    """The eight clauses of the contract of a layer, by number; 0 is the layer's own definition.

    ``docs/contract.md`` says what each promises; a failure names its clause.
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
    """A check that runs elsewhere, or may not be loaded at all."""

    name: str
    family: str
    clause: Clause
    summary: str


#: By name. :mod:`emcheck.checks` adds its own; those that apply to a layer in another process come
#: from there.
KNOWN: dict[str, KnownCheck] = {}


def make_known(name: str, family: str, clause: int, summary: str) -> KnownCheck:
    """Remember a check."""
    KNOWN[name] = KnownCheck(name, family, Clause(clause), summary)
    return KNOWN[name]
