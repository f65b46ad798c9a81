"""One comparison inside a canary."""

from __future__ import annotations

from dataclasses import dataclass

from emcheck.result import excess


@dataclass(frozen=True)
class Case:
    """``ratio = error / bound`` of one operation on one input, against its threshold."""

    label: str
    ratio: float
    threshold: float

    @property
    def ok(self) -> bool:
        """Written so that NaN fails."""
        return self.ratio <= self.threshold

    @property
    def badness(self) -> float:
        """Error over threshold, by which cases are ranked."""
        return excess(self.ratio, self.threshold)
