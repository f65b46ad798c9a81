"""A report: results, explanations and scope."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from emcheck._internal.extras import extra_named
from emcheck.known import KNOWN
from emcheck.ok import SPOILING, is_ok, never_passed, spoils
from emcheck.result import Ending, Explanation, Result, Verdict

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

#: Version of the JSON; it grows when an entry changes its meaning or is removed.
FORMAT = 1

#: Verdicts that are listed one by one, in this order; the others are counted.
_TOLD = (
    *(Verdict.FAIL, Verdict.XPASS, Verdict.NOT_RUN, Verdict.XFAIL),
    *(Verdict.ILL_CONDITIONED, Verdict.NOTE),
)


@dataclass(frozen=True, repr=False)
class Report:
    """The results of all checks on one layer.

    ``ok`` holds iff nothing spoils it (a FAIL, an XPASS, a value or log-det check with an
    example that did not end) and every applicable value and log-det check passed at least
    once. ``explanations`` are the causes that fit the failures, best first; ``unexplained``
    says why there are none, if the search did not end; ``scope`` says in words what was
    checked: shapes, sizes, modes.
    """

    layer: str
    shape: tuple[int, ...]
    seed: int
    results: tuple[Result, ...]
    explanations: tuple[Explanation, ...] = ()
    scope: tuple[str, ...] = ()
    unexplained: str = ""

    @property
    def failures(self) -> tuple[Result, ...]:
        """The results that spoil the report."""
        return tuple(r for r in self.results if spoils(r.check, r.verdict, r.unfinished))

    @property
    def unproven(self) -> tuple[str, ...]:
        """Value and log-det checks that apply but never passed."""
        return never_passed((result.check, result.verdict) for result in self.results)

    @property
    def ok(self) -> bool:
        return is_ok(self.results)

    @property
    def examples(self) -> int:
        return sum(result.examples for result in self.results)

    def to_frame(self) -> pd.DataFrame:
        """Return a data frame with one row per check and dtype.

        Raises:
            MissingExtra: pandas is not installed.
        """
        with extra_named():
            import pandas as pd  # half a second that nothing else here needs

        rows = [asdict(result) | {"verdict": str(result.verdict)} for result in self.results]
        return pd.DataFrame(rows)

    def to_json(self, made_with: Mapping[str, str] | None = None) -> str:
        """Return everything as JSON; numbers that are not finite are strings.

        Args:
            made_with: versions and date, for a file that is kept; nothing else depends on the date.
        """
        content: dict[str, Any] = {
            "format": FORMAT,
            **({"made_with": dict(made_with)} if made_with else {}),
            "layer": self.layer,
            "shape": self.shape,
            "seed": self.seed,
            "ok": self.ok,
            "examples": self.examples,
            "unproven": self.unproven,
            "scope": self.scope,
            "unexplained": self.unexplained,
            "explanations": [asdict(explanation) for explanation in self.explanations],
            "results": [result.to_record() for result in self.results],
        }
        return json.dumps(content, indent=1) + "\n"

    @property
    def headline(self) -> str:
        """The layer, the verdict and how much ran, in two lines."""
        counts = {v: sum(r.verdict is v for r in self.results) for v in Verdict}
        counted = ", ".join(f"{n} {verdict}" for verdict, n in counts.items() if n)
        verdict = "ok" if self.ok else f"NOT OK{self._by_dtype()}"
        ran = f"{_several(len(self.results), 'result')} from {_several(self.examples, 'example')}"
        return f"{self.layer} on {self.shape}, seed {self.seed}: {verdict}\n{ran}: {counted}"

    def _by_dtype(self) -> str:
        """`` (float32: ok; float64: 4 FAIL)`` if only one dtype is to blame."""
        parts, good = [], 0
        for dtype in dict.fromkeys(result.dtype for result in self.results):
            own = tuple(result for result in self.results if result.dtype == dtype)
            failed = sum(spoils(r.check, r.verdict, r.unfinished) for r in own)
            good += is_ok(own)
            parts.append(f"{dtype}: ok" if is_ok(own) else f"{dtype}: {failed} FAIL")
        return f" ({'; '.join(parts)})" if len(parts) > 1 and good else ""

    def __str__(self) -> str:
        lines = [self.headline, *(f"  {line}" for line in self.scope)]
        lines += [line for finding in self._findings for line in finding]
        lines += [f"  never passed: {name}" for name in self._unexplained]
        return "\n".join(lines + self._diagnosis())

    def __repr__(self) -> str:
        first, second = self.headline.splitlines()
        return f"<Report {first}; {second.partition(': ')[2]}>"

    def _repr_html_(self) -> str:
        """Return HTML for a notebook; :meth:`to_html` is a page of its own."""
        from emcheck.report.html import fragment

        diagnosis = [*(f"never passed: {name}" for name in self._unexplained), *self._diagnosis()]
        return fragment(self.headline, self.scope, self._findings, diagnosis, self.results, self.ok)

    def to_html(self) -> str:
        """Return a page with the verdict, every finding and, folded, all results."""
        from emcheck.report.html import page

        return page(f"{self.layer} on {self.shape}", [self._repr_html_()])

    def plot(self) -> Figure:
        """Plot error over bound by check: ``report.plot().savefig("report.svg")``.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        from emcheck.report.figure import figure_of

        return figure_of(self.headline.splitlines()[0], self.results)

    @property
    def _findings(self) -> list[list[str]]:
        """The lines of each finding, worst first."""
        told = [result for result in self.results if result.verdict in _TOLD]
        told = [r for r in told if r.verdict is not Verdict.NOT_RUN or r.unfinished]
        groups = _groups(sorted(told, key=lambda result: _TOLD.index(result.verdict)))
        return [_told(alike) for alike in groups]

    @property
    def _unexplained(self) -> list[str]:
        """Checks that never passed without having failed."""
        failed = {result.check for result in self.failures}
        return [name for name in self.unproven if name not in failed]

    def _diagnosis(self) -> list[str]:
        if not self.failures:
            return []
        if not self.explanations:
            return [self.unexplained or "no explanation fits: every known cause was tried"]
        best, *others = self.explanations
        lines = [f"most likely: {best.text}", f"  {best.evidence}"]
        lines.append(f"  accounts for: {', '.join(best.checks)}")
        for other in others[:2]:
            lines += [f"or: {other.text}", f"  {other.evidence}"]
        return lines


def _several(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _groups(results: list[Result]) -> list[list[Result]]:
    """Group results of one finding: a check in several dtypes, an exception in many checks."""
    found: dict[tuple[Verdict, str], list[Result]] = {}
    for result in results:
        raised = result.ending is Ending.RAISED and result.verdict is Verdict.FAIL
        key = result.detail if raised else result.check
        found.setdefault((result.verdict, key), []).append(result)
    return list(found.values())


def _told(alike: list[Result]) -> list[str]:
    """Return a finding in a few lines: what, the numbers, where, and how to reproduce it."""
    result = alike[0]
    checks = list(dict.fromkeys(one.check for one in alike))
    dtypes = ", ".join(dict.fromkeys(one.dtype for one in alike))
    lines = [f"  {result.verdict:<15} {result.check} [{dtypes}]"]
    lines += [f"    {line}" for line in (*numbers_of(result), result.detail) if line]
    if result.verdict in SPOILING:
        rule = f", rule {result.rule}" if result.rule not in ("", "EXACT") else ""
        lines.append(f"    contract: {KNOWN[result.check].clause}{rule}")
    if len(checks) > 1:
        lines.append(f"    {len(checks)} checks raised this: {', '.join(checks)}")
    if result.reproduce:
        lines.append(f"    {result.reproduce}")
    else:
        lines.append(f"    case: {result.case}")
    return lines


def numbers_of(result: Result) -> tuple[str, ...]:
    """Return got, expected, bound and ratio, if the check measures more than a yes or no."""
    if math.isnan(result.threshold) or result.threshold == 0:
        return ()
    told = f"error / bound = {result.ratio:.3g} (at most {result.threshold:g})"
    if math.isnan(result.got):
        return (told,)
    values = f"got {result.got:.9g}, expected {result.expected:.9g}"
    return (f"{values}, bound {result.bound:.2g}", told)
