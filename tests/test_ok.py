"""What is ok is decided in one place, and nothing that is missing counts as passed."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from emcheck import check_layer
from emcheck.kit import Checker
from emcheck.ok import is_ok, never_passed, spoils
from emcheck.result import Result, Verdict, merge

PASSED = Result("logdet_matches_jacobian", "L", "case", "float64", "cpu", Verdict.PASS)
LATE = replace(PASSED, verdict=Verdict.NOT_RUN, examples=0, unfinished=1, detail="too slow")
REFUSED = replace(PASSED, verdict=Verdict.UNSUPPORTED, unfinished=1, detail="not implemented")
ABSENT = replace(PASSED, verdict=Verdict.UNSUPPORTED, examples=0, detail="no inverse")


@pytest.mark.parametrize("missing", [LATE, REFUSED])
def test_what_passed_does_not_stand_for_what_is_missing(missing: Result) -> None:
    for order in itertools.permutations([PASSED, PASSED, missing]):
        merged = merge(list(order))
        assert (merged.verdict, merged.unfinished) == (Verdict.NOT_RUN, 1)
        assert merged.detail == f"{missing.detail}: 1 of 3 examples are missing"
        assert spoils(merged.check, merged.verdict, merged.unfinished)
        assert not is_ok([merged, PASSED])


def test_a_fail_outranks_what_is_missing_and_what_does_not_apply_spoils_nothing() -> None:
    failed = replace(PASSED, verdict=Verdict.FAIL)
    assert merge([LATE, failed, PASSED]).verdict is Verdict.FAIL
    assert merge([PASSED, ABSENT]).verdict is Verdict.PASS
    assert merge([REFUSED, REFUSED]).verdict is Verdict.UNSUPPORTED
    assert is_ok([PASSED, ABSENT])
    assert not is_ok([ABSENT])


def test_a_missing_example_spoils_values_and_log_dets_alone() -> None:
    assert spoils("inverse_undoes_forward", Verdict.NOT_RUN, 1)
    assert not spoils("inverse_undoes_forward", Verdict.NOT_RUN, 0)  # another check has failed
    assert not spoils("vmap_agrees", Verdict.NOT_RUN, 1)
    assert spoils("vmap_agrees", Verdict.FAIL)


def test_a_check_that_one_dtype_lacks_and_the_other_never_reached_is_not_unproven() -> None:
    silent = [
        ("log_det_alone_agrees", Verdict.UNSUPPORTED),
        ("log_det_alone_agrees", Verdict.NOT_RUN),
    ]
    assert never_passed(silent) == ()
    assert never_passed(silent[1:]) == ("log_det_alone_agrees",)


class Scale(nn.Module):
    """``z = x exp(s)``."""

    def __init__(self) -> None:
        super().__init__()
        self.s = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x * self.s.exp(), self.s.sum().expand(len(x))

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z * (-self.s).exp(), -self.s.sum().expand(len(z))


class Sleeps(Scale):
    """The inverse sleeps once its parameters have moved."""

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        if bool(self.s.detach().any()):
            time.sleep(5)
        return super().inverse(z)


class NotOnceMoved(Scale):
    """The inverse is not implemented once its parameters have moved."""

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        if bool(self.s.detach().any()):
            raise NotImplementedError("only at the start")
        return super().inverse(z)


@pytest.mark.parametrize("layer", [Sleeps, NotOnceMoved])
def test_an_inverse_that_answers_only_at_the_start_is_not_ok(layer: type[Scale]) -> None:
    report = check_layer(layer, (3,), time_limit=0.3, report_limit=20.0)
    assert not report.ok
    told = [r for r in report.failures if r.check == "inverse_undoes_forward"]
    assert {r.verdict for r in told} == {Verdict.NOT_RUN}
    assert all("examples are missing" in r.detail and r.unfinished for r in told)


def test_a_report_has_a_limit_and_says_what_is_missing() -> None:
    class Slow(Scale):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            time.sleep(0.02)
            return super().forward(x)

    start = time.monotonic()
    report = check_layer(Slow, (3,), report_limit=1.0)
    assert time.monotonic() - start < 30.0
    assert not report.ok
    assert "the report's limit of 1 s was over" in str(report)


def test_time_between_two_checks_is_none_of_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of a layer are other tests apart, on a busy machine by minutes."""
    real, gone = time.monotonic, itertools.count(0, 1000)
    checker = Checker(Scale, (3,), report_limit=60.0, examples=1)
    results = []
    for check, offset in zip(checker.checks, gone, strict=False):
        monkeypatch.setattr(time, "monotonic", lambda offset=offset: real() + offset)
        results += checker.run(check)
    checker.close()
    assert Verdict.NOT_RUN not in {result.verdict for result in results}


def test_the_same_seed_gives_the_same_report() -> None:
    assert check_layer(Scale, (3,), seed=3).to_json() == check_layer(Scale, (3,), seed=3).to_json()
