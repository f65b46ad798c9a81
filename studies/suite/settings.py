"""What a user chooses for a run of the whole suite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: Where a run writes, in the checkout: the reference run, and any other.
REFERENCE, LOCAL = "reports", "reports/local"


@dataclass(frozen=True)
class Settings:
    """The options of ``emcheck run``.

    Args:
        reference: the reference run: everything at full size, written to ``reports/``.
        profile: of Hypothesis: dev, ci, reference or deep.
        workers: processes of the properties; 0 for every core.
        bench_profile: quick or full.
        threads: of the benches; 0 keeps the default.

    Raises:
        ValueError: any other value.
    """

    reference: bool = False
    profile: str = "dev"
    workers: int = 0
    bench_profile: str = "quick"
    threads: int = 0

    def __post_init__(self) -> None:
        chosen("--profile", self.profile, ("dev", "ci", "reference", "deep"))
        chosen("--bench-profile", self.bench_profile, ("quick", "full"))
        for name in ("workers", "threads"):
            if getattr(self, name) < 0:
                raise ValueError(f"expected --{name} to be 0 or more, got {getattr(self, name)}")

    @property
    def folder(self) -> str:
        """Where the report and its data are written, in the checkout."""
        return REFERENCE if self.reference else LOCAL


def chosen(name: str, value: str, known: Sequence[str]) -> str:
    """The value of an option, or ``ValueError`` if it is not among those known."""
    if value not in known:
        raise ValueError(f"expected {name} to be one of {', '.join(known)}, got {value!r}")
    return value
