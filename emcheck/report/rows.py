"""A report as rows, one for each check, as a terminal and a page show it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from emcheck.result import Result, Verdict, excess

#: The check, its verdict by dtype, and its largest error over bound as text.
Row = tuple[str, dict[str, Verdict], str]


def rows_of(results: Sequence[Result]) -> Iterator[Row]:
    """Yield one row for each check, in the order of the results."""
    by_check: dict[str, list[Result]] = {}
    for result in results:
        by_check.setdefault(result.check, []).append(result)
    for name, of_check in by_check.items():
        yield name, {result.dtype: result.verdict for result in of_check}, _share(of_check)


def _share(results: Sequence[Result]) -> str:
    """Return the largest error over bound as text, empty if the check measures none."""
    measured = [r for r in results if r.threshold > 0 and not math.isnan(r.ratio)]
    return f"{max(excess(r.ratio, r.threshold) for r in measured):.2g}" if measured else ""
