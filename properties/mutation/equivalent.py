"""Mutants that no test can notice, each with the reason.

A mutant that is listed and noticed is an error, and so is an entry without a mutant.
"""

from __future__ import annotations

#: key of the mutant (``--list`` prints them) -> why it changes no verdict.
EQUIVALENT: dict[str, str] = dict.fromkeys(
    (
        "emcheck.bounds:CANCELLATION_FACTOR: 2.0 ** 20 -> 2.0 ** 20 * 10",
        "emcheck.bounds:CANCELLATION_FACTOR: 2.0 ** 20 -> 2.0 ** 20 / 10",
    ),
    "A float32 ratio above its threshold and a float64 ratio within it always differ by more "
    "than the quotient of the rounding units, 2^29, so the factor decides nothing up to there.",
)
