"""One comparison in a self-test."""

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
        """Whether the ratio is within the threshold; NaN is not."""
        return self.ratio <= self.threshold

    @property
    def badness(self) -> float:
        """Error over threshold, by which cases are ranked."""
        return excess(self.ratio, self.threshold)
