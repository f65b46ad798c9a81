"""Measure claims, show them and keep their evidence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emcheck.cli.show import StepProgress
from studies.claims.core import Claim
from studies.claims.keep import keep
from studies.claims.show import render


def run_claims(claims: Sequence[Claim], out: Path) -> bool:
    """Whether none was found not to hold; one that cannot be measured says so and is no failure."""
    found = []
    with StepProgress("claims") as progress:
        for number, claim in enumerate(claims):
            progress.advance(number, len(claims))
            found.append((claim, claim.measure()))
            keep(*found[-1], out)
        progress.advance(len(claims), len(claims))
    for claim, evidence in found:
        render(claim, evidence)
    return all(evidence.holds or evidence.missing for _, evidence in found)
