"""Findings on wide data, at negative parameters and from a first batch of one sample."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal, TransformedDistribution
from torch.distributions import transforms as tt

from tests.shown import normal, reproducible  # noqa: F401

pytestmark = pytest.mark.usefixtures("reproducible")


def _spoilt(layer: nn.Module, call: Any) -> set[bool]:
    """Whether parameters are NaN after a first batch of one sample, and of two."""
    with pytest.warns(UserWarning, match="degrees of freedom"):
        call(layer.train(), normal(1, 5).float())
    spoilt = any(not bool(p.isfinite().all()) for p in layer.parameters())
    call(layer, normal(8, 5).float())
    return {spoilt, any(not bool(p.isfinite().all()) for p in layer.parameters())}


def test_actnorm_from_one_sample_is_nan_for_good() -> None:
    """The deviation of one sample, with n - 1 in the denominator, is NaN, and stays."""
    nf = pytest.importorskip("normflows", reason="normflows is not installed")
    nt = pytest.importorskip("nflows.transforms", reason="nflows is not installed")
    fm = pytest.importorskip("FrEIA.modules", reason="FrEIA is not installed")
    assert _spoilt(nf.flows.ActNorm((5,)), lambda f, x: f(x)) == {True}
    assert _spoilt(nt.ActNorm(5), lambda f, x: f(x)) == {True}
    assert _spoilt(fm.ActNorm([(5,)]), lambda f, x: f([x])) == {True}


def test_nflows_sigmoid_of_a_negative_temperature() -> None:
    """A trained temperature may become negative; the map is still one to one, its log-det NaN."""
    nt = pytest.importorskip("nflows.transforms", reason="nflows is not installed")
    layer, x = nt.Sigmoid(temperature=-2.0, learn_temperature=True), normal(3, 4).float()
    z, logdet = layer(x)
    assert np.allclose(z.detach(), 1 / (1 + np.exp(2 * x.numpy())), atol=1e-6)
    assert bool(logdet.isnan().all())


def test_nflows_sigmoid_clips_at_a_millionth() -> None:
    """In float64 a sigmoid of 20 is far from 1 - 1e-6 in digits, and comes back as 13.8."""
    nt = pytest.importorskip("nflows.transforms", reason="nflows is not installed")
    layer, x = nt.Sigmoid(), torch.full((1, 2), 20.0, dtype=torch.float64)
    back = layer.inverse(layer(x)[0])[0]
    assert float(back.max()) == pytest.approx(math.log(1e6 - 1), rel=1e-6)


def test_nflows_tanh_has_an_infinite_log_slope() -> None:
    """``log(1 - tanh^2)`` of 12 in float32 is -inf; it is -22.6, as float64 has it."""
    nt = pytest.importorskip("nflows.transforms", reason="nflows is not installed")
    assert float(nt.Tanh()(torch.tensor([[12.0]]))[1]) == -math.inf
    wide = float(nt.Tanh()(torch.tensor([[12.0]], dtype=torch.float64))[1])
    assert wide == pytest.approx(math.log(4) - 24.0, abs=1e-3)


def test_torch_stack_along_its_last_dimension_is_not_summed() -> None:
    """It says that this dimension belongs to the event, and returns a log-det for each entry."""
    parts = [tt.ExpTransform(), tt.AffineTransform(0.0, 2.0)]
    stack = tt.StackTransform(parts, dim=-1)
    assert stack.domain.event_dim == 1
    x = torch.ones(3, 2)
    assert stack.log_abs_det_jacobian(x, stack(x)).shape == (3, 2)  # due: (3,)
    density = TransformedDistribution(Normal(torch.zeros(2), torch.ones(2)), [stack])
    with pytest.raises(RuntimeError, match="must match the size"):
        density.log_prob(x)


def test_torch_softplus_is_linear_from_twenty_on() -> None:
    """From 20 on it returns x itself, which float64 tells from ``log(1 + exp(x))``."""
    transform, x = tt.SoftplusTransform(), torch.tensor([20.5, 30.0], dtype=torch.float64)
    y = transform(x)
    assert torch.equal(y, x)
    assert float(np.logaddexp(0.0, 20.5) - 20.5) > 1e-9
    back = transform.inv(y)  # of log(1 + exp(x)): another map there
    assert 1e-10 < float((x - back).abs().max()) < 1e-8


def test_zuko_quadrature_says_the_integrand_is_its_slope() -> None:
    """The sum of a quadrature has another slope than the integrand, which autograd returns."""
    zt = pytest.importorskip("zuko.transforms", reason="zuko is not installed")
    transform = zt.UnconstrainedMonotonicTransform(lambda u: 1 + torch.sin(u) / 2, n=16)
    x = torch.tensor([40.0], dtype=torch.float64, requires_grad=True)
    (told,) = torch.autograd.grad(transform.f(x).sum(), x)
    nodes, weights = np.polynomial.legendre.leggauss(16)

    def quadrature(b: float) -> float:
        return float((weights * (1 + np.sin((nodes + 1) * b / 2) / 2)).sum() * b / 2)

    assert float(transform.f(x).detach()) == pytest.approx(quadrature(40.0), rel=1e-6)
    slope = (quadrature(40.0 + 1e-4) - quadrature(40.0 - 1e-4)) / 2e-4
    assert float(told) == pytest.approx(1 + math.sin(40.0) / 2, rel=1e-12)
    assert abs(slope - float(told)) > 1e-5
