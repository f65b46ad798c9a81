"""The checks by name, family and summary, known without loading what they are made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KnownCheck:
    """A check that runs elsewhere, or may not be loaded at all."""

    name: str
    family: str
    summary: str


#: By name. :mod:`emcheck.checks` adds its own; those that apply to a layer in another process come
#: from there.
KNOWN: dict[str, KnownCheck] = {}


def make_known(name: str, family: str, summary: str) -> KnownCheck:
    """Remember a check."""
    KNOWN[name] = KnownCheck(name, family, summary)
    return KNOWN[name]
