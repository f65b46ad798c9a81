"""Layers are taken by the calls that they have; right ones are ok, wrong ones are flagged."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from emcheck import check_layer, reproduce
from emcheck.kit import Report
from emcheck.result import Verdict
from properties.portions import portion
from tests import conventions
from tests.conventions import CONVENTIONS, SHAPE, Core, wrong


def report_of(make: Any, shape: tuple[int, ...] = SHAPE, **options: Any) -> Report:
    return check_layer(make, shape, examples=2, dtypes=(torch.float64,), **options)


@pytest.mark.parametrize("name", portion(CONVENTIONS, 9))
def test_a_right_layer_is_taken_as_it_is(name: str) -> None:
    report = report_of(CONVENTIONS[name])
    assert report.ok, str(report)
    passed = {r.check for r in report.results if str(r.verdict) == "PASS"}
    assert "logdet_matches_jacobian" in passed, str(report)
    assert "inverse_undoes_forward" in passed, str(report)


@pytest.mark.parametrize("name", portion(CONVENTIONS, 9))
def test_a_wrong_log_det_is_flagged_and_explained(name: str) -> None:
    report = report_of(wrong(CONVENTIONS[name]))
    failed = {failure.check for failure in report.failures}
    if name == "PerEntry":  # numbers for each entry that are no log-det are not summed
        assert "shapes_and_dtypes" in failed, str(report)
        return
    assert "logdet_matches_jacobian" in failed, str(report)
    assert report.explanations[0].text.endswith("H W: it is that of one pixel."), str(report)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Sldj", "forward(x, sldj); inverse: forward(z, sldj, reverse=True); log-det: added to"),
        ("Subtracts", "log-det: subtracted from the argument `logpx`"),
        ("AddsToDensity", "log-det: added to the argument `log_p`"),
        ("Mode", "forward(x, mode='encode'); inverse: forward(z, mode='decode')"),
        ("Stored", "log-det: `logdet` of the layer"),
        ("ByMethod", "log-det: `log_abs_det_jacobian` of the layer"),
        ("InAList", "data in a list of one"),
        ("PerEntry", "log-det: summed over the entries"),
    ],
)
def test_the_report_says_how_a_layer_is_called(name: str, told: str) -> None:
    assert told in report_of(CONVENTIONS[name]).scope[0]


class Flip(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flip(1)

    def inverse(self, z: Tensor) -> Tensor:
        return z.flip(1)


class ScaleWithoutLogdet(Flip):
    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(0.3))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.log_scale.exp()

    def inverse(self, z: Tensor) -> Tensor:
        return z * (-self.log_scale).exp()


def test_no_log_det_is_right_where_the_volume_is_kept() -> None:
    report = report_of(Flip)
    assert report.ok, str(report)
    assert "log-det: none, so it must be 0" in report.scope[0]
    assert not report_of(ScaleWithoutLogdet).ok
    assert report_of(ScaleWithoutLogdet, capabilities={"logdet": False}).ok


class Masked(Core):
    def forward(self, x: Tensor, weights: Tensor) -> Any:
        return self.there(x * weights)

    def inverse(self, z: Tensor, weights: Tensor) -> Any:
        return self.back(z)


class TwoWays(Core):
    """Both ways back are wrong, and differ."""

    def forward(self, x: Tensor) -> Any:
        return self.there(x)

    def decode(self, z: Tensor) -> Any:
        return 2 * self.back(z)[0]

    def invert(self, z: Tensor) -> Any:
        return 3 * self.back(z)[0]


@pytest.mark.parametrize(
    ("make", "options", "told"),
    [
        (
            Masked,
            {},
            r"need `weights`; emcheck.adapt\(layer, forward=lambda layer, x: layer\(x, we",
        ),
        (TwoWays, {}, "two that answer differently: .*invert.* and .*decode"),
        (conventions.Conditional, {}, r"expected a context for Conditional, .*`c`: context=\(3,\)"),
        (CONVENTIONS["Sldj"], {"context": (3,)}, "expected a layer whose calls take a context"),
        (conventions.Conditional, {"context": (0,)}, "expected context as a shape"),
        (conventions.Conditional, {"context": "3"}, "expected context as a shape"),
        (conventions.Conditional, {"context": lambda b, g: 3}, "expected context to return"),
        (conventions.Conditional, {"context": (4,)}, "expected a shape that Conditional accepts"),
    ],
)
def test_what_cannot_be_called_is_told_in_one_line(
    make: Any, options: dict[str, Any], told: str
) -> None:
    shape = (2, 2) if issubclass(make, conventions.Conditional) else SHAPE
    with pytest.raises(ValueError, match=told) as raised:
        report_of(make, shape, **options)
    assert "\n" not in str(raised.value)


def labels(batch: int, generator: torch.Generator) -> Tensor:
    return torch.randint(0, 4, (batch,), generator=generator)


@pytest.mark.parametrize(
    ("make", "context", "failing"),
    [
        (conventions.Conditional, (3,), None),
        (conventions.Mixed, (3,), "rows_are_independent"),
        (conventions.OneDirection, (3,), "inverse_undoes_forward"),
        (conventions.Labelled, labels, None),
        (conventions.LabelledWrong, labels, "logdet_matches_jacobian"),
    ],
)
def test_each_sample_has_its_own_context(make: Any, context: Any, failing: str | None) -> None:
    report = report_of(make, (2, 2), context=context)
    failed = {failure.check for failure in report.failures}
    assert report.ok if failing is None else failing in failed, str(report)
    assert "empty_batch" not in {r.check for r in report.results if r.verdict is Verdict.NOTE}
    assert "the context changes nothing" not in str(report)


@pytest.mark.parametrize("context", [(3,), labels])
def test_a_context_that_changes_nothing_is_named(context: Any) -> None:
    report = report_of(conventions.Unconditional, (2, 2), context=context)
    assert report.ok, str(report)
    assert "the context changes nothing: in " in str(report)


def set_tolerance(layer: Any, tolerance: float) -> None:
    layer.tol = tolerance


@pytest.mark.parametrize("tolerance", [1e-5, set_tolerance])
@pytest.mark.parametrize(
    ("make", "failing", "cause"),
    [
        (conventions.FixedPoint, "", ""),
        (conventions.ThreeSteps, "inverse_meets_its_tolerance", "tolerance_ignored"),
        (conventions.LeakingFixedPoint, "rows_are_independent", ""),
    ],
)
def test_an_inverse_is_judged_by_its_tolerance(
    make: Any, failing: str, cause: str, tolerance: Any
) -> None:
    for seed in range(3):
        report = report_of(make, (3,), tolerance=tolerance, seed=seed)
        assert report.ok is (not failing), str(report)
        assert failing in {"", *(failure.check for failure in report.failures)}, str(report)
        if cause:
            named = cause if callable(tolerance) else "stopped_before_tolerance"
            assert report.explanations[0].cause == named, str(report)


@pytest.mark.parametrize("tolerance", [0, -1.0, "x", True, 2.0])
def test_a_tolerance_is_a_number_or_sets_one(tolerance: Any) -> None:
    with pytest.raises(ValueError, match="expected tolerance above 0 and below 1 or a function"):
        report_of(conventions.FixedPoint, (3,), tolerance=tolerance)


@pytest.mark.parametrize("seed", portion(range(3), 3))
@pytest.mark.parametrize(
    ("share", "told"),
    [(1.0, ""), (0.0, "has no gradient"), (0.5, "has another gradient, on average")],
)
def test_the_gradient_of_an_estimate_is_judged(share: float, told: str, seed: int) -> None:
    lacks = {"deterministic_logdet": False}
    layer = conventions.Hutchinson(share)
    report = report_of(layer, (3,), capabilities=lacks, seed=seed)
    assert report.ok is (not told), str(report)
    if told:
        (failure,) = report.failures
        assert failure.check == "gradient_of_estimate_is_unbiased"
        assert told in report.explanations[0].text


def test_parameters_have_the_names_that_their_author_gave() -> None:
    report = report_of(conventions.WithUnused, (3,))
    (failure,) = report.failures
    assert failure.detail == "no gradient ever reaches unused"
    assert report.explanations[0].text == "The parameter `unused` is never used."
    again = reproduce(conventions.WithUnused, failure.check, failure.case)
    assert again.detail == failure.detail
