"""Right densities are ok, wrong ones are flagged; statistical checks err as rarely as they say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from emcheck import check_density
from emcheck.bounds import empirical_bernstein
from emcheck.checks.estimates import DRAWS as ESTIMATES
from emcheck.checks.estimates import judged
from emcheck.densities import DENSITY_CHECKS
from emcheck.densities.flow import Flow
from emcheck.densities.integral import DRAWS
from emcheck.densities.kernels import Kernel
from emcheck.flows import Glow
from emcheck.result import Verdict
from properties.portions import portion
from tests.densities import (
    RIGHT,
    WRONG,
    Cached,
    Coupled,
    IgnoresContext,
    OnACircle,
    coupled,
    normal,
)


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_density_is_ok(name: str) -> None:
    make, shape = RIGHT[name]
    report = check_density(make(), shape)
    assert report.ok, str(report)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(1, 21))
@pytest.mark.parametrize("name", RIGHT)
def test_a_right_density_is_ok_whatever_the_seed(name: str, seed: int) -> None:
    make, shape = RIGHT[name]
    report = check_density(make(), shape, seed=seed)
    assert report.ok, str(report)


@pytest.mark.parametrize("seed", portion(range(5), 5))
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_density_is_flagged_and_explained(name: str, seed: int) -> None:
    make, shape, check, cause = WRONG[name]
    report = check_density(make(), shape, seed=seed)
    assert check in {failure.check for failure in report.failures}, str(report)
    told = [explanation.cause for explanation in report.explanations]
    assert cause is None or told[:1] == [cause], str(report)


class AtDefault(Coupled):
    """Pictures are drawn at another temperature unless somebody asks."""

    def sample(self, n: int, context: Any = None, temperature: float = 0.7) -> torch.Tensor:
        self.temperature = temperature
        return super().sample(n, context)


def test_a_default_temperature_is_no_fault() -> None:
    assert check_density(AtDefault, (4,)).ok


def test_every_check_has_a_fault() -> None:
    assert {check for _, _, check, _ in WRONG.values()} == set(DENSITY_CHECKS)


def test_a_conditional_density_is_checked_at_several_contexts() -> None:
    right = check_density(Coupled(4, inputs=3), (4,), context=(3,))
    assert right.ok, str(right)
    assert right.scope[1] == "at 3 contexts"
    wrong = check_density(IgnoresContext(4, inputs=3), (4,), context=(3,))
    assert "samples_follow_log_prob" in {failure.check for failure in wrong.failures}


@pytest.mark.parametrize("library", ["nflows", "zuko", "zuko with context", "normflows"])
def test_flows_of_libraries_are_taken_as_they_are(library: str) -> None:
    torch.manual_seed(0)
    context: Any = None
    flow: Any
    if library == "nflows":
        flows = pytest.importorskip("nflows.flows", reason="nflows is not installed")
        from nflows.distributions import StandardNormal
        from nflows.transforms import MaskedAffineAutoregressiveTransform

        flow = flows.Flow(MaskedAffineAutoregressiveTransform(2, 8), StandardNormal([2]))
    elif library == "normflows":
        nf = pytest.importorskip("normflows", reason="normflows is not installed")
        base = nf.distributions.DiagGaussian(2)
        flow = nf.NormalizingFlow(base, [nf.flows.MaskedAffineAutoregressive(2, 8)])
    else:
        zuko = pytest.importorskip("zuko", reason="zuko is not installed")
        context = (3,) if "context" in library else None
        flow = zuko.flows.MAF(2, 3 if context else 0, transforms=1, hidden_features=(8,))
    report = check_density(flow, (2,), context=context)
    assert report.ok, str(report)


class NamedAlike(Coupled):
    """``flows`` and ``q0`` stand for something else here."""

    def __init__(self, answers: bool) -> None:
        super().__init__(4)
        self.q0 = normal(4)
        self.flows = torch.nn.ModuleList([torch.nn.ReLU()])
        if answers:
            self.flows[0].inverse = lambda z: (z, torch.zeros(len(z)).to(z))


@pytest.mark.parametrize("answers", [False, True])
def test_names_that_mean_something_else_accuse_nobody(answers: bool) -> None:
    report = check_density(NamedAlike(answers), (4,))
    assert report.ok, str(report)
    (found,) = (r for r in report.results if r.check == "log_prob_is_base_plus_logdet")
    assert found.verdict is Verdict.UNSUPPORTED


def test_flows_whose_log_prob_is_inexact_by_design_are_not_accused() -> None:
    nf = pytest.importorskip("normflows", reason="normflows is not installed")
    torch.manual_seed(0)
    net = nf.nets.LipschitzMLP([2, 8, 2], init_zeros=True, lipschitz_const=0.9)
    layers = [nf.flows.Residual(net, reduce_memory=False)]
    flow = nf.NormalizingFlow(nf.distributions.DiagGaussian(2), layers)
    report = check_density(flow, (2,))
    assert report.ok, str(report)
    told = {r.detail for r in report.results if r.verdict is Verdict.UNSUPPORTED}
    assert any("an estimate, which differs from call to call" in detail for detail in told)


@pytest.mark.exhaustive
def test_an_integrated_flow_is_judged_as_finely_as_it_is_integrated() -> None:
    zuko = pytest.importorskip("zuko", reason="zuko is not installed")
    torch.manual_seed(0)
    report = check_density(zuko.flows.CNF(2, 0, hidden_features=(8,)), (2,))
    assert report.ok, str(report)


def test_a_conditional_flow_whose_base_draws_float32_is_taken() -> None:
    flows = pytest.importorskip("nflows.flows", reason="nflows is not installed")
    from nflows.distributions import StandardNormal
    from nflows.transforms import MaskedAffineAutoregressiveTransform

    transform = MaskedAffineAutoregressiveTransform(2, 8, context_features=2)
    report = check_density(flows.Flow(transform, StandardNormal([2])), (2,), context=(2,))
    assert report.ok, str(report)


def test_an_integral_by_draws_errs_as_rarely_as_it_says() -> None:
    """Weights that are almost never drawn and then 30: their mean is within the bound."""
    generator = np.random.default_rng(0)
    for share in (1e-5, 1e-4, 1e-3, 1 / 30):
        for _ in range(200):
            draws = 30.0 * (generator.random(DRAWS) < share)
            assert abs(draws.mean() - 30 * share) <= empirical_bernstein(draws, 30.0)


def test_beyond_three_dimensions_an_integral_is_by_draws() -> None:
    report = check_density(coupled(4, offset=0.2), (4,))
    failed = {failure.check for failure in report.failures}
    assert failed == {"log_prob_integrates_to_one", "samples_follow_log_prob"}
    right = check_density(coupled(4, temperature=0.5), (4,))
    assert {failure.check for failure in right.failures} == {"samples_follow_log_prob"}


def test_the_flow_of_this_project_is_a_density() -> None:
    report = check_density(Glow((2, 2, 2), 1, 1, "1x1", 4, seed=1), (2, 2, 2))
    assert report.ok, str(report)


@pytest.mark.parametrize(
    ("flow", "shape", "options", "told"),
    [
        (3, (2,), {}, "expected a flow with log_prob and sample, got int"),
        (torch.nn.ReLU(), (2,), {}, "expected a flow"),
        (coupled(4), (), {}, "expected shape"),
        (coupled(4), (4,), {"context": (0,)}, "expected context as a shape"),
        (coupled(4), (4,), {"support": (1.0, 0.0)}, r"support: expected \(low, high\)"),
        (coupled(4), (4,), {"support": 3.0}, r"support: expected \(low, high\)"),
        (coupled(4), (4,), {"support": ([0.0, 0.0], 1.0)}, r"arrays of shape \(4,\)"),
        (torch.nn.Linear(2, 2), (2,), {}, "expected a flow with log_prob and sample, got Linear"),
        (Cached(), (2,), {}, "got KeyError for x that sample has not just returned"),
        (
            coupled(4),
            (4,),
            {"expected_failures": {"nothing": "why"}},
            "name of a check .log_prob_of_samples",
        ),
    ],
)
def test_mistakes_are_one_line(
    flow: Any, shape: tuple[int, ...], options: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told) as raised:
        check_density(flow, shape, **options)
    assert "\n" not in str(raised.value)


def test_a_support_that_is_given_is_where_samples_must_lie() -> None:
    assert check_density(OnACircle(2), (2,), support=(-math.pi, math.pi)).ok
    report = check_density(OnACircle(2), (2,), support=(-2.0, [2.0, 3.2]))
    (failure,) = [f for f in report.failures if f.check == "log_prob_of_samples_is_finite"]
    assert "samples lie outside of [-2, 2] x [-2, 3.2]" in failure.detail


def test_the_same_seed_gives_the_same_report_and_an_expected_failure_is_none() -> None:
    first, second = (check_density(coupled(temperature=0.9), (4,), seed=3) for _ in range(2))
    assert str(first) == str(second)
    excused = check_density(
        coupled(temperature=0.9),
        (4,),
        expected_failures={"samples_follow_log_prob": "samples for pictures"},
    )
    assert excused.ok
    assert Verdict.XFAIL in {result.verdict for result in excused.results}


@pytest.mark.exhaustive
def test_kernels_err_as_rarely_as_they_say() -> None:
    """10,000 right cases: none beyond six errors, and few beyond three."""
    flow, ratios = Flow(normal(2), (2,)), []
    generator = np.random.default_rng(0)
    for number in range(10_000):
        x = generator.standard_normal((2000, 2))
        kernel = Kernel(generator.standard_normal(2) / 2, (0.6 + 0.3 * (number % 2)) * np.eye(2))
        measure = kernel.judged(x, flow.log_density(x), flow, generator)
        ratios.append(measure.ratio if not measure.ill_conditioned else 0.0)
    found = np.array(ratios)
    assert found.max() <= 1
    assert (found > 0.5).mean() < 0.006  # 0.0027 for a normal mean


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", ["normal", "squares", "roulette"])
def test_means_of_estimates_err_as_rarely_as_they_say(kind: str) -> None:
    """10,000 right cases of light and of heavy tails: none is flagged twice in a row."""
    generator = np.random.default_rng(1)
    flagged = 0
    for _ in range(10_000):
        for count in (ESTIMATES, 4 * ESTIMATES):
            draws = {
                "normal": lambda n: generator.standard_normal((n, 1)),
                "squares": lambda n: generator.standard_normal((n, 1)) ** 2 - 1,
                "roulette": lambda n: _roulette(generator, n),
            }[kind](count)
            measure = judged(draws, np.zeros(1), np.zeros(1))
            if measure.ok:
                break
        else:
            flagged += 1
    assert flagged == 0


def _roulette(generator: np.random.Generator, n: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The first term of a series plus the others, each kept by a coin and weighed: a heavy tail."""
    last = generator.geometric(0.5, n)
    sums = np.cumsum((2 * 0.6) ** np.arange(60) / 2.0) * 2  # terms 0.6^k, kept with 2^-k
    expected = 1 / (1 - 0.6)
    return (sums[np.minimum(last, 60) - 1] - expected)[:, None]


class Sheared(torch.nn.Module):
    """A normal density in three dimensions, ``log_prob`` off by a constant."""

    def __init__(self, offset: float = 0.0) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([[1.0, 0, 0], [0.5, 2, 0], [-1, 0.3, 0.7]]))
        self.offset = offset

    def log_prob(self, x: torch.Tensor) -> torch.Tensor:
        base = torch.distributions.Normal(0.0, 1.0).log_prob(x @ self.weight).sum(1)
        return base + torch.linalg.slogdet(self.weight)[1] + self.offset

    def sample(self, n: int) -> torch.Tensor:
        z = torch.randn(n, 3).to(self.weight)
        return z @ self.weight.inverse()


def test_three_dimensions_are_integrated() -> None:
    right, wrong = check_density(Sheared(), (3,)), check_density(Sheared(0.01), (3,))
    assert right.ok, str(right)
    passed = {r.check for r in right.results if r.verdict is Verdict.PASS}
    assert "log_prob_integrates_to_one" in passed
    assert "log_prob_integrates_to_one" in {failure.check for failure in wrong.failures}
