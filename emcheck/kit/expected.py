"""Expected failures, each with a reason."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from emcheck.checks import CHECKS
from emcheck.result import Result, Verdict


def validate_expected(
    expected: Mapping[str, str] | None, known: Collection[str] = CHECKS
) -> dict[str, str]:
    """Return check -> reason; raise ``ValueError`` for an unknown check or a missing reason."""
    found = dict(expected or {})
    validate_checks(tuple(found), known)
    for name, reason in found.items():
        if not isinstance(reason, str) or not reason.strip():
            raise ValueError(f"expected a reason for the expected failure {name}, got {reason!r}")
    return found


def validate_checks(names: Sequence[str], known: Collection[str] = CHECKS) -> frozenset[str]:
    """Return the names of checks; raise ``ValueError`` for one that is no check."""
    listed = "emcheck list" if known is CHECKS else ", ".join(known)
    for name in names:
        if name not in known:
            raise ValueError(f"expected the name of a check ({listed}), got {name!r}")
    return frozenset(names)


def mark_expected(results: Sequence[Result], expected: Mapping[str, str]) -> list[Result]:
    """Turn an expected FAIL into XFAIL, and PASS into XPASS if the check passes everywhere."""
    failed = {result.check for result in results if result.verdict is Verdict.FAIL}
    return [_marked(result, expected, failed) for result in results]


def _marked(result: Result, expected: Mapping[str, str], failed: set[str]) -> Result:
    reason = expected.get(result.check)
    if reason is None:
        return result
    if result.verdict is Verdict.FAIL:
        detail = f"expected: {reason}" + (f"; {result.detail}" if result.detail else "")
        return replace(result, verdict=Verdict.XFAIL, detail=detail)
    if result.verdict is Verdict.PASS and result.check not in failed:
        told = f"passed, although a failure was expected: {reason}"
        return replace(result, verdict=Verdict.XPASS, detail=told)
    return result
