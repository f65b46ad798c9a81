"""Mutants that no test can notice, each with the reason.

A mutant that is listed and noticed is an error, and so is an entry without a mutant.
"""

from __future__ import annotations

#: key of the mutant (``--list`` prints them) -> why it changes no verdict.
EQUIVALENT: dict[str, str] = {
    "emcheck.checks.structure:jacobian_is_block_circulant: trial.forward_bound(basis)[0].max() "
    "-> trial.forward_bound(basis)[0].min()": (
        "The bound of an FFT is normwise, and every image of a basis has norm 1: all entries of "
        "their bounds are one number."
    ),
}
