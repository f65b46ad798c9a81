"""Every registered layer against every check that applies to it."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from hypothesis import given, seed, settings

from emcheck.checks import CHECKS, Case, Subject, run_check
from emcheck.result import Result, Verdict, merge
from emcheck.specs import REGISTRY
from properties.strategies import cases
from properties.summary import pairs


@pytest.mark.parametrize(("layer", "check"), pairs(), ids=["-".join(p) for p in pairs()])
def test_layer_passes(
    layer: str, check: str, pytestconfig: pytest.Config, record_property: Any
) -> None:
    device = pytestconfig.getoption("--device")
    subject = Subject.of_class(layer, REGISTRY[layer])
    results: list[Result] = []
    most = settings.default.max_examples
    if CHECKS[check].optional:  # each example compiles for seconds
        most = max(2, most // 5)

    @settings(max_examples=most)
    @seed(zlib.crc32(f"{layer} {check}".encode()))
    @given(case=cases(REGISTRY[layer], device))
    def examine(case: Case) -> None:
        result = run_check(CHECKS[check], subject, case)
        results.append(result)
        if result.verdict is Verdict.FAIL:
            raise AssertionError(f"{check} on {layer}: {result.detail}\n{result}")

    try:
        examine()
    finally:
        _record(results, check, record_property)
    assert len(results) >= min(20, most)
    verdicts = {result.verdict for result in results}
    assert Verdict.PASS in verdicts, f"{check} never passed on {layer}: {verdicts}"


def _record(results: list[Result], check: str, record_property: Any) -> None:
    """One record per dtype: the worst of its examples."""
    for dtype in sorted({result.dtype for result in results}):
        merged = merge([result for result in results if result.dtype == dtype])
        record = {"kind": "check", "family": CHECKS[check].family, **merged.to_record()}
        record_property("emcheck", record)
