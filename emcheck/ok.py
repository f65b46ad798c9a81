"""Decides what counts as ok, in one place for reports, tests, matrices and summaries."""

from __future__ import annotations

from collections.abc import Iterable

from emcheck.known import KNOWN
from emcheck.result import Result, Verdict

#: Families in which every applicable check must pass at least once.
MUST_PASS = ("values", "logdet")

#: Verdicts that spoil the report, test or matrix they belong to.
SPOILING = (Verdict.FAIL, Verdict.XPASS)

#: Verdicts under which a check counts as not applicable.
_NOT_APPLICABLE = (Verdict.UNSUPPORTED, Verdict.XFAIL)


def spoils(check: str, verdict: Verdict, unfinished: int = 0) -> bool:
    """Whether a result spoils a report.

    FAIL and XPASS do, and so does a value or log-det check that is NOT RUN because an example began
    and did not finish: its answer is unknown.
    """
    missing = verdict is Verdict.NOT_RUN and unfinished > 0
    return verdict in SPOILING or (missing and KNOWN[check].family in MUST_PASS)


def never_passed(found: Iterable[tuple[str, Verdict]]) -> tuple[str, ...]:
    """Return the value and log-det checks among ``(check, verdict)`` that apply but never passed.

    A check that is unsupported in one dtype and did not run in the other does not apply.
    """
    verdicts: dict[str, set[Verdict]] = {}
    for check, verdict in found:
        if KNOWN[check].family in MUST_PASS:
            verdicts.setdefault(check, set()).add(verdict)
    silent = {Verdict.NOT_RUN, *_NOT_APPLICABLE}
    return tuple(
        check
        for check, seen in verdicts.items()
        if Verdict.PASS not in seen
        and not seen <= set(_NOT_APPLICABLE)
        and not (Verdict.UNSUPPORTED in seen and seen <= silent)
    )


def is_ok(results: Iterable[Result]) -> bool:
    """Whether a check passed, none spoils, and each value or log-det check that applies passed."""
    known = tuple(results)
    passed = any(result.verdict is Verdict.PASS for result in known)
    spoilt = any(spoils(r.check, r.verdict, r.unfinished) for r in known)
    return passed and not spoilt and not never_passed((r.check, r.verdict) for r in known)
