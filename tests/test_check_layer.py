"""``check_layer`` on layers of any make: what it accepts, leaves alone and says."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import emcheck
from emcheck import Report, Verdict, check_layer
from emcheck.checks import CHECKS, Case
from emcheck.layers import Conv1x1
from properties.portions import portion

Pair = tuple[Tensor, Tensor]


class Scale(nn.Module):
    """A correct scale per channel, for events of any rank."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(channels))

    def spread(self, x: Tensor) -> Tensor:
        return self.log_scale.reshape(-1, *[1] * (x.dim() - 2)).expand_as(x[0])

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return x * self.spread(x).exp(), self.spread(x).sum().expand(len(x))

    def inverse(self, z: Tensor) -> tuple[Tensor, Any]:
        return z * (-self.spread(z)).exp(), -self.spread(z).sum().expand(len(z))


def verdicts(report: Report, check: str) -> set[Verdict]:
    return {result.verdict for result in report.results if result.check == check}


@pytest.mark.parametrize("event", [(3,), (3, 5), (3, 4, 2), (3, 2, 3, 2)])
def test_events_of_any_rank(event: tuple[int, ...]) -> None:
    report = check_layer(Scale, event)
    assert report.ok, str(report)
    assert verdicts(report, "logdet_matches_jacobian") == {Verdict.PASS}


class OneNumber(Scale):
    """Right values, one number for all samples: a matter of convention."""

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return super().forward(x)[0], self.spread(x).sum()

    def inverse(self, z: Tensor) -> tuple[Tensor, Any]:
        return super().inverse(z)[0], -self.spread(z).sum()


class Nothing(Scale):
    """A wrong number for all samples is no convention."""

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return super().forward(x)[0], 0

    def inverse(self, z: Tensor) -> tuple[Tensor, Any]:
        return super().inverse(z)[0], 0.0


def test_a_number_for_all_samples_is_a_note_and_its_value_is_checked() -> None:
    right = check_layer(OneNumber, (3, 2, 3))
    assert right.ok, str(right)
    assert verdicts(right, "logdet_per_sample") == {Verdict.NOTE}
    wrong = check_layer(Nothing, (3, 2, 3))
    assert verdicts(wrong, "logdet_per_sample") == {Verdict.NOTE}
    assert verdicts(wrong, "logdet_matches_jacobian") == {Verdict.FAIL}


def test_a_layer_is_left_exactly_as_it_was() -> None:
    layer = Scale().eval()
    layer.log_scale.grad = torch.ones(3)
    calls: list[int] = []
    layer.register_forward_hook(lambda *_: calls.append(1))
    before = copy.deepcopy(layer.state_dict())
    states = torch.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
    check_layer(layer, (3, 2, 2))
    assert not layer.training
    assert torch.equal(layer.log_scale, before["log_scale"])
    assert layer.log_scale.requires_grad
    assert layer.log_scale.grad is not None
    assert torch.equal(layer.log_scale.grad, torch.ones(3))
    assert len(layer._forward_hooks) == 1
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]  # type: ignore[index]  # noqa: NPY002


class RandomOrder(nn.Module):
    """A permutation drawn at construction and not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.order = torch.randperm(6)

    def forward(self, x: Tensor) -> Pair:
        return x[:, self.order], x.new_zeros(len(x))

    def inverse(self, z: Tensor) -> Pair:
        return z[:, self.order.argsort()], z.new_zeros(len(z))


def test_only_a_factory_shows_what_a_fresh_layer_forgets() -> None:
    assert check_layer(RandomOrder(), (6,)).ok
    report = check_layer(RandomOrder, (6,))
    assert [f.check for f in report.failures] == ["state_dict_restores"] * 2, str(report)


class LogScale(nn.Module):
    """``z = log x``, for positive data only."""

    def forward(self, x: Tensor) -> Pair:
        return x.log(), -x.log().flatten(1).sum(dim=1)

    def inverse(self, z: Tensor) -> Pair:
        return z.exp(), z.flatten(1).sum(dim=1)


def positive(batch: int, generator: torch.Generator) -> Tensor:
    return torch.randn((batch, 4), generator=generator, dtype=torch.float64).exp()


def test_sample_draws_in_a_restricted_domain() -> None:
    assert not check_layer(LogScale(), (4,)).ok
    report = check_layer(LogScale(), (4,), sample=positive)
    assert report.ok, str(report)
    with pytest.raises(ValueError, match="expected sample to return"):
        check_layer(LogScale(), (3,), sample=positive)


class ShiftedScale(Scale):
    """Consistent in itself, but not what it is meant to be: twice the scale."""

    def spread(self, x: Tensor) -> Tensor:
        return 2 * super().spread(x)


def reference(layer: Scale, x: Tensor) -> Tensor:
    return x * layer.log_scale.exp().reshape(-1, 1, 1)


def test_a_reference_sees_what_no_consistency_can() -> None:
    assert check_layer(ShiftedScale, (3, 2, 3)).ok
    wrong = check_layer(ShiftedScale, (3, 2, 3), reference=reference)
    assert "forward_matches_definition" in {f.check for f in wrong.failures}
    right = check_layer(Scale, (3, 2, 3), reference=reference)
    assert right.ok, str(right)
    assert verdicts(right, "inverse_backward_error") == {Verdict.PASS}
    assert verdicts(right, "density_integrates_to_one") == {Verdict.UNSUPPORTED}


def test_capabilities_are_declared_by_name() -> None:
    report = check_layer(Nothing, (3, 2), capabilities={"inverse_logdet": False})
    assert verdicts(report, "inverse_logdet_matches_jacobian") == {Verdict.UNSUPPORTED}
    assert verdicts(report, "logdet_matches_jacobian") == {Verdict.FAIL}
    with pytest.raises(ValueError, match="expected capabilities among inverse"):
        check_layer(Scale, (3, 2), capabilities={"speed": False})
    with pytest.raises(ValueError, match="True or False for capability inverse"):
        check_layer(Scale, (3, 2), capabilities={"inverse": "no"})  # type: ignore[dict-item]


def test_adapted_functions_without_inverse_are_unsupported_visibly() -> None:
    layer = emcheck.adapt(forward=lambda x: (2 * x, x[0].numel() * float(np.log(2.0))))
    report = check_layer(layer, (2, 3))
    assert verdicts(report, "inverse_undoes_forward") == {Verdict.UNSUPPORTED}
    assert not report.failures, str(report)


def test_expected_failures_need_a_reason_and_a_known_name() -> None:
    reasons = {
        "logdet_matches_jacobian": "it has no log-det yet",
        "inverse_logdet_matches_jacobian": "it has no log-det yet",
    }
    report = check_layer(Nothing, (3, 2), expected_failures=reasons)
    assert report.ok, str(report)
    assert verdicts(report, "logdet_matches_jacobian") == {Verdict.XFAIL}
    passed = check_layer(Scale, (3, 2), expected_failures=reasons)
    assert verdicts(passed, "logdet_matches_jacobian") == {Verdict.XPASS}
    assert not passed.ok
    with pytest.raises(ValueError, match="expected the name of a check"):
        check_layer(Scale, (3, 2), expected_failures={"speed": "slow"})
    with pytest.raises(ValueError, match="expected a reason"):
        check_layer(Scale, (3, 2), expected_failures={"empty_batch": " "})


def test_batch_statistics_fail_once_with_that_explanation() -> None:
    class Centred(Scale):
        def forward(self, x: Tensor) -> tuple[Tensor, Any]:
            shift = x.mean(dim=0) if self.training else torch.zeros_like(x[0])
            z, logdet = super().forward(x - shift)
            return z, logdet

    report = check_layer(Centred, (3, 2, 3))
    assert {f.check for f in report.failures} == {"rows_are_independent"}, str(report)
    for name, verdict in (
        ("rows_are_independent", Verdict.FAIL),
        ("logdet_matches_jacobian", Verdict.PASS),
    ):
        again = emcheck.reproduce(Centred, name, "(2, 3, 2, 3) float64 trained seed=0")
        assert again.verdict is verdict, f"{name}: {again.detail}"
    assert report.explanations[0].cause == "batch_statistics"
    assert verdicts(report, "logdet_matches_jacobian") == {Verdict.PASS}
    assert any("eval mode" in line for line in report.scope)


def _loops(*_: Any) -> None:
    while True:
        time.sleep(0.01)


def _raises(*_: Any) -> None:
    raise RuntimeError("out of order")


@pytest.mark.parametrize(
    ("inverse", "told"),
    portion(
        [
            pytest.param(_loops, "did not return within 0.3 s"),
            pytest.param(_raises, "raised RuntimeError: out of order"),
            pytest.param(lambda self, z: (z.tolist(), z.sum()), "expected a tensor x, got list"),
            pytest.param(lambda self, z: (z, "none"), "expected logdet (B,), got str"),
        ],
        4,
    ),
)
def test_an_inverse_that_does_not_answer_fails_once_and_the_rest_runs(
    inverse: Callable[..., Any], told: str
) -> None:
    layer = type("Broken", (Scale,), {"inverse": inverse})
    report = check_layer(layer, (3, 2, 3), examples=1, time_limit=0.3)
    assert {f.check for f in report.failures} == {"inverse_undoes_forward"}, str(report)
    assert all(told in failure.detail for failure in report.failures)
    assert verdicts(report, "inverse_logdet_matches_jacobian") == {Verdict.NOT_RUN}
    assert verdicts(report, "logdet_matches_jacobian") == {Verdict.PASS}
    assert "Traceback" not in str(report)


@pytest.mark.exhaustive
def test_a_diagnosis_does_not_hang_on_a_layer_that_does() -> None:
    class Both(Nothing):
        def inverse(self, z: Tensor) -> tuple[Tensor, Any]:
            while True:
                time.sleep(0.01)

    report = check_layer(Both, (3, 2, 3), time_limit=0.3)
    assert verdicts(report, "logdet_matches_jacobian") == {Verdict.FAIL}
    assert verdicts(report, "inverse_undoes_forward") == {Verdict.FAIL}
    line = next(f.reproduce for f in report.failures if f.check == "inverse_undoes_forward")
    case = line.split('"')[3]
    again = emcheck.reproduce(Both, "inverse_undoes_forward", case, time_limit=0.3)
    assert again.verdict is Verdict.FAIL
    assert "did not return within 0.3 s" in again.detail


@pytest.mark.parametrize(
    ("forward", "told"),
    [
        (_loops, "did not return within 0.3 s"),
        (lambda self, x: (x, x, x), "expected (z, logdet), got tuple of 3"),
    ],
)
def test_a_forward_that_does_not_answer_is_a_report(forward: Callable[..., Any], told: str) -> None:
    layer = type("Broken", (Scale,), {"forward": forward})
    report = check_layer(layer, (3, 2, 3), time_limit=0.3)
    assert not report.ok
    assert {f.check for f in report.failures} == {"shapes_and_dtypes"}
    assert told in str(report)


def test_a_log_det_of_any_other_shape_fails_once_and_values_are_judged() -> None:
    class Whole(Scale):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            z, logdet = super().forward(x)
            return z, logdet.reshape(-1, 1).expand(len(x), 3)

    report = check_layer(Whole, (3, 2, 3))
    assert {f.check for f in report.failures} == {"shapes_and_dtypes"}, str(report)
    assert verdicts(report, "inverse_undoes_forward") == {Verdict.PASS}
    assert verdicts(report, "logdet_matches_jacobian") == {Verdict.NOT_RUN}
    assert report.explanations[0].cause == "logdet_wrong_shape"


def test_an_inverse_alone_is_taken_without_its_log_det() -> None:
    class Alone(Scale):
        def inverse(self, z: Tensor) -> Any:
            return super().inverse(z)[0]

    report = check_layer(Alone, (3, 2, 3))
    assert report.ok, str(report)
    assert verdicts(report, "inverse_logdet_matches_jacobian") == {Verdict.UNSUPPORTED}


def test_every_failure_is_small_and_can_be_reproduced() -> None:
    report = check_layer(Nothing, (3, 4, 5))
    for failure in report.failures:
        case = Case.parse(failure.case)
        assert case.batch == 1
        assert case.event == (3, 1, 1)
        assert failure.ratio == pytest.approx(abs(failure.got - failure.expected) / failure.bound)
        text = failure.reproduce
        again = eval(text, {"emcheck": emcheck, "layer": Nothing})
        assert (again.verdict, again.got, again.expected) == (
            Verdict.FAIL,
            failure.got,
            failure.expected,
        )
    with pytest.raises(ValueError, match="expected a case like"):
        emcheck.reproduce(Scale, "empty_batch", "(3, 4)")
    with pytest.raises(ValueError, match="expected the name of a check"):
        emcheck.reproduce(Scale, "speed", "(1, 3) float64 initial seed=0")


def test_neighbours_show_what_the_given_size_hides() -> None:
    class Square(Scale):
        def forward(self, x: Tensor) -> tuple[Tensor, Any]:
            pixels = x.shape[2] ** 2
            return super().forward(x)[0], (pixels * self.log_scale.sum()).expand(len(x))

        def inverse(self, z: Tensor) -> tuple[Tensor, Any]:
            pixels = z.shape[2] ** 2
            return super().inverse(z)[0], -(pixels * self.log_scale.sum()).expand(len(z))

    report = check_layer(Square, (3, 4, 4))
    assert verdicts(report, "logdet_matches_jacobian") >= {Verdict.FAIL}
    fixed = check_layer(Square, (3, 4, 4), capabilities={"other_sizes": False})
    assert fixed.ok, str(fixed)


class Collapses(Scale):
    """Everything beyond 1 becomes 0, with a log-det as if nothing had happened."""

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        z, logdet = super().forward(x)
        return torch.where(x.abs() > 1, torch.zeros_like(z), z), logdet


def test_a_layer_that_is_not_invertible_does_not_escape_as_ill_conditioned() -> None:
    report = check_layer(Collapses, (3, 2, 2))
    assert verdicts(report, "logdet_matches_jacobian") == {Verdict.FAIL}
    assert any("the Jacobian is singular" in failure.detail for failure in report.failures)


@pytest.mark.exhaustive
def test_large_events_are_checked_at_a_smaller_size_and_at_full_size() -> None:
    report = check_layer(Scale, (3, 12, 12), time_limit=120.0)
    assert report.ok, str(report)
    assert any("checked at (3, 6, 12)" in line for line in report.scope), report.scope
    fixed = check_layer(Scale, (3, 12, 12), capabilities={"other_sizes": False}, time_limit=120.0)
    assert not fixed.failures
    assert verdicts(fixed, "logdet_matches_jacobian") == {Verdict.PASS}
    assert verdicts(fixed, "vmap_agrees") == {Verdict.UNSUPPORTED}


def test_the_same_seed_gives_the_same_report() -> None:
    first, second = (check_layer(Nothing, (3, 2, 3), seed=7) for _ in range(2))
    assert str(first) == str(second)
    content = json.loads(first.to_json())
    assert content["ok"] is False
    assert len(content["results"]) == len(first.results)
    assert {result["check"] for result in content["results"]} <= set(CHECKS)


@pytest.mark.parametrize(
    ("layer", "shape", "options", "told"),
    [
        (3, (3,), {}, "expected a module with forward and inverse, got int"),
        (nn.ReLU(), (3,), {}, "expected a module with forward and inverse, got ReLU"),
        (lambda: 1 / 0, (3,), {}, "raised ZeroDivisionError"),
        (Scale, 3, {}, "expected shape"),
        (Scale, (), {}, "expected shape"),
        (Scale, (3, 2, 2, 2, 2), {}, "expected shape"),
        (Scale, (4, 2), {}, "expected a shape that Scale accepts"),
        (Scale, (3,), {"examples": 0}, "expected examples to be 1 or more"),
        (Scale, (3,), {"dtypes": (torch.float16,)}, "expected dtypes among"),
        (Scale, (3,), {"reference": lambda: 1}, "expected reference(layer, x)"),
        (Conv1x1, (3, 2, 2), {}, "call it first"),
    ],
)
def test_mistakes_are_one_line(layer: Any, shape: Any, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError) as caught:
        check_layer(layer, shape, **options)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
