"""What is ok: the one place that decides, for a report, a test, a matrix and the summary."""

from __future__ import annotations

from collections.abc import Iterable

from emcheck.known import KNOWN
from emcheck.result import Result, Verdict

#: Families in which every applicable check must pass at least once.
MUST_PASS = ("values", "logdet")

#: Verdicts that spoil whatever they belong to.
SPOILING = (Verdict.FAIL, Verdict.XPASS)

#: Verdicts that stand outside what is applicable.
_NOT_APPLICABLE = (Verdict.UNSUPPORTED, Verdict.XFAIL)


def spoils(check: str, verdict: Verdict, unfinished: int = 0) -> bool:
    """Whether a result spoils a report.

    A FAIL and an XPASS do, and a value or log-det check of which an example began and did not
    end: nobody knows what it would have said.
    """
    missing = verdict is Verdict.NOT_RUN and unfinished > 0
    return verdict in SPOILING or (missing and KNOWN[check].family in MUST_PASS)


def never_passed(found: Iterable[tuple[str, Verdict]]) -> tuple[str, ...]:
    """Value and log-det checks among ``(check, verdict)`` that apply but never passed.

    One that is unsupported in one dtype and did not run in the other does not apply.
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
    """Something passed, nothing spoils, and every applicable value and log-det check passed."""
    known = tuple(results)
    passed = any(result.verdict is Verdict.PASS for result in known)
    spoilt = any(spoils(r.check, r.verdict, r.unfinished) for r in known)
    return passed and not spoilt and not never_passed((r.check, r.verdict) for r in known)
