"""One comparison inside a canary."""

from __future__ import annotations

import math
from dataclasses import dataclass


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
        """Ratio over threshold, by which cases are ranked; an exact case is right or not."""
        if self.ok and self.threshold == 0:
            return 0.0
        return self.ratio / self.threshold if self.ok else math.inf
