"""Findings on FrEIA, torch.distributions, zuko and the replica, by NumPy and formulas alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import transforms as tt

from studies.survey.paper import FusedEmerging, Periodic
from tests.shown import differences, normal, off, reproducible  # noqa: F401

pytestmark = pytest.mark.usefixtures("reproducible")

#: Rounding of float64 in these small computations stays below.
EXACT = 1e-12


@pytest.fixture
def fm() -> Any:
    return pytest.importorskip("FrEIA.modules", reason="FrEIA is not installed")


@pytest.fixture
def zuko() -> Any:
    return pytest.importorskip("zuko", reason="zuko is not installed")


def test_freia_unused_parameters(fm: Any) -> None:
    """They ask for a gradient, get none, and changing them changes no bit of what comes out."""
    gin = fm.AllInOneBlock([(4,)], subnet_constructor=nn.Linear, gin_block=True)
    fixed = fm.HouseholderPerm([(4,)], n_reflections=2, fixed=True)
    x = normal(3, 4).float().requires_grad_()
    for layer, parameter in ((gin, gin.global_scale), (fixed, fixed.Vs)):
        assert parameter.requires_grad
        (z,), logdet = layer([x])
        scalar = z.sum() + torch.as_tensor(logdet).sum()
        assert torch.autograd.grad(scalar, parameter, allow_unused=True) == (None,)
        parameter.data.mul_(1.5)
        (again,), other = layer([x])
        assert torch.equal(again, z)
        assert torch.equal(torch.as_tensor(other), torch.as_tensor(logdet))


def test_freia_fixed_rotations_are_rounded(fm: Any) -> None:
    """Orthogonal to the rounding of float32 and no better, whatever dtype follows."""
    soft = fm.AllInOneBlock([(4,)], subnet_constructor=nn.Linear, permute_soft=True).double()
    fixed = fm.HouseholderPerm([(4,)], n_reflections=2, fixed=True).double()
    for matrix in (soft.w_perm, fixed.W):
        W = matrix.detach().numpy()
        assert 1e-9 < off(W @ W.T, np.eye(4)) < 1e-6


@pytest.mark.filterwarnings("ignore:Using non-full backward hooks:FutureWarning")
def test_freia_orthogonal_transform_is_free_between_projections(fm: Any) -> None:
    """The matrix is a free parameter; what undoes it is its transpose."""
    layer, x = fm.OrthogonalTransform([(4,)]).double(), normal(3, 4)
    layer.weights.data.mul_(1.5)
    (z,), _ = layer([x])
    (back,), _ = layer([z], rev=True)
    assert off(back.detach(), 1.5**2 * x.numpy()) < 1e-5


def test_freia_learned_scaling(fm: Any) -> None:
    layer, x = fm.LearnedElementwiseScaling([(2, 3)]).double(), normal(3, 2, 3)
    layer.s.data.copy_(normal(2, 3))
    for rev, sign in ((False, 1), (True, -1)):
        _, logdet = layer([x], rev=rev)
        J = differences(lambda v, rev=rev: layer([v], rev=rev)[0][0], x)  # type: ignore[misc]
        assert off(np.linalg.slogdet(J)[1], sign * layer.s.sum().detach()) < 1e-6
        assert logdet.shape == (1,)  # due: one for each of 3 samples
        assert off(logdet.detach(), layer.s.sum().detach()) < EXACT  # the sign of forward in both


def test_freia_sigmoid_of_images(fm: Any) -> None:
    layer, x = fm.InvertibleSigmoid([(2, 3, 2)]), normal(3, 2, 3, 2)
    _, logdet = layer([x])
    s = 1 / (1 + np.exp(-x.numpy()))
    terms = np.log(s * (1 - s))
    assert logdet.shape == (3, 3, 2)  # due: one for each of 3 samples
    assert off(logdet, terms.sum(axis=1)) < EXACT
    assert off(logdet.sum(dim=(1, 2)), terms.sum(axis=(1, 2, 3))) < EXACT


def test_freia_haar_in_place(fm: Any) -> None:
    for by_wavelet in (False, True):
        options = {"order_by_wavelet": by_wavelet, "rebalance": 2.0}
        down = fm.HaarDownsampling([(2, 4, 6)], **options).double()
        up = fm.HaarUpsampling([(8, 2, 3)], **options).double()
        for layer, rev in ((down, True), (up, False)):
            x = normal(2, 8, 2, 3)
            before = x.clone()
            first = layer([x], rev=rev)[0][0]
            changed = not torch.equal(x, before)
            assert changed is not by_wavelet
            assert torch.equal(layer([x], rev=rev)[0][0], first) is not changed


def test_freia_residual_needs_gradients(fm: Any) -> None:
    layer, x = fm.IResNetLayer([(3,)], internal_size=4), normal(2, 3).float()
    assert layer([x.clone()])[1].shape == (2,)
    with torch.no_grad(), pytest.raises(RuntimeError, match="does not require grad"):
        layer([x.clone()])


@pytest.mark.parametrize(
    ("scale", "event", "repeats"),
    [((), (4,), 4), ((1,), (4,), 4), ((2, 1, 1), (2, 3, 2), 6)],
    ids=str,
)
def test_torch_affine_scale_that_broadcasts(
    scale: tuple[int, ...], event: tuple[int, ...], repeats: int
) -> None:
    """Every entry of the scale counts once for each dimension that it is broadcast over."""
    s, x = normal(*scale), normal(3, *event)
    transform = tt.AffineTransform(0.0, s, event_dim=len(event))
    exact = np.linalg.slogdet(differences(transform, x))[1]
    assert off(exact, repeats * s.abs().log().sum()) < 1e-6
    logdet = transform.log_abs_det_jacobian(x, transform(x))
    assert off(logdet, s.abs().log().sum()) < EXACT


def test_torch_stack_of_vectors() -> None:
    """Two rows of 3, tanh each: the log-det of a row is the sum of log(1 - tanh^2)."""
    vectors = tt.IndependentTransform(tt.TanhTransform(), 1)
    x = normal(4, 2, 3)
    rows = np.log1p(-(np.tanh(x.numpy()) ** 2)).sum(axis=-1)
    for dim in (1, -2):
        stack = tt.StackTransform([vectors, vectors], dim=dim)
        assert off(stack(x), np.tanh(x.numpy())) < EXACT
        logdet = stack.log_abs_det_jacobian(x, stack(x))
        assert off(logdet, rows if dim == 1 else rows.T) < EXACT
        assert logdet.shape == ((4, 2) if dim == 1 else (2, 4))  # the samples come first


def test_torch_cholesky_has_no_logdet() -> None:
    transform, x = tt.LowerCholeskyTransform(), normal(2, 3, 3)
    with pytest.raises(NotImplementedError):
        transform.log_abs_det_jacobian(x, transform(x))


def monotone(zuko: Any) -> dict[str, Any]:
    zt = zuko.transforms
    return {
        "Bernstein": zt.BernsteinTransform(normal(1, 6)),
        "BoundedBernstein": zt.BoundedBernsteinTransform(normal(1, 8)),
        "Gaussianization": zt.GaussianizationTransform(normal(1, 4), 0.3 * normal(1, 4)),
        "SOSPolynomial": zt.SOSPolynomialTransform(normal(1, 2, 4)),
        "NAF": zuko.flows.neural.MNN(signal=2, hidden_features=(4,)).double()(normal(1, 2)),
        "UNAF": zuko.flows.neural.UMNN(signal=2, hidden_features=(4,)).double()(
            normal(1, 2), normal(1)
        ),
    }


@pytest.mark.parametrize(
    "name", ["Bernstein", "BoundedBernstein", "Gaussianization", "SOSPolynomial", "NAF", "UNAF"]
)
def test_zuko_bisection_swallows_nan(zuko: Any, name: str) -> None:
    transform = monotone(zuko)[name]
    x = normal(3, 1).clamp(-1, 1)
    z = transform(x).detach()
    assert off(transform.inv(z).detach(), x) < 1e-5  # the tolerance of the bisection is 1e-6
    z[1] = math.nan
    back = transform.inv(z).detach()
    assert back.isfinite().all()
    assert back[1].abs() > 1  # beyond every x: an end of the interval


def test_zuko_integrator_steps_for_the_batch(zuko: Any) -> None:
    layer = zuko.flows.continuous.FFJTransform(3, hidden_features=(8,)).double()
    x = normal(6, 3)
    x[1:] *= 8
    with torch.no_grad():
        together, alone = layer()(x)[0], layer()(x[:1])[0]
    assert EXACT < off(together, alone) < 1e-3


def test_zuko_gaussianization_is_not_onto(zuko: Any) -> None:
    """The whole line is mapped to an interval; the base has more than that."""
    shift, wide = torch.zeros(1, 2, dtype=torch.float64), torch.full((1, 2), -0.7).double()
    first = zuko.transforms.GaussianizationTransform(shift, shift)
    second = zuko.transforms.GaussianizationTransform(shift, wide)
    line = torch.linspace(-1e4, 1e4, 1001, dtype=torch.float64)[:, None]
    ends = [float(v) for v in first(line)[[0, -1]].flatten()]
    assert max(map(abs, ends)) < 4.9
    low, high = (float(v) for v in second(first(line))[[0, -1]].flatten())
    held = (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2))) / 2
    assert held < 0.99  # of the base, and so of the density


def test_zuko_samples_end_at_the_bound_of_the_bisection(zuko: Any) -> None:
    transform = zuko.transforms.GaussianizationTransform(
        torch.zeros(1, 2, dtype=torch.float64), torch.full((1, 2), -3.0, dtype=torch.float64)
    )
    x = torch.tensor([[30.0]], dtype=torch.float64)
    back = transform.inv(transform(x))
    assert float(back) == pytest.approx(10.0)


def exact_logdets(layer: nn.Module, x: Tensor, inverse: bool = False) -> Any:
    call = layer.inverse if inverse else layer.forward
    return np.linalg.slogdet(differences(lambda v: call(v)[0], x, step=1e-3))[1]  # type: ignore[operator]


def test_replica_of_the_fused_layer() -> None:
    """The map is linear: differences are exact. The 1x1 is moved away from orthogonal."""
    layer, x = FusedEmerging(2).double(), normal(2, 2, 3, 4)
    mended = FusedEmerging(2, defective=False).double()
    layer.W.data.mul_(torch.tensor([[1.5], [0.5]]))
    mended.load_state_dict(layer.state_dict())
    mixing = 12 * np.linalg.slogdet(layer.W.detach().numpy())[1]
    assert abs(mixing) > 1
    z, logdet = (value.detach() for value in layer(x))
    exact = exact_logdets(layer, x)
    assert off(logdet, exact - mixing) < 1e-9
    back, inverse_logdet = (value.detach() for value in layer.inverse(z))
    assert off(back, x) < 1e-9
    assert off(inverse_logdet, exact_logdets(layer, z, inverse=True) - mixing) < 1e-9
    assert off(mended(x)[1].detach(), exact) < 1e-9
    assert off(mended.inverse(z)[1].detach(), -exact) < 1e-9


@pytest.mark.parametrize(("k", "defective", "moved"), [(3, True, 0), (5, True, 1), (5, False, 0)])
def test_replica_of_the_periodic_layer(k: int, defective: bool, moved: int) -> None:
    layer, x = Periodic(2, k, defective).double(), normal(2, 2, 5, 6)
    z, logdet = (value.detach() for value in layer(x))
    assert off(logdet, exact_logdets(layer, x)) < 1e-9  # a shift has determinant +-1
    back = layer.inverse(z)[0].detach().numpy()
    shifts = {shift: off(np.roll(back, (shift, shift), axis=(2, 3)), x) for shift in range(-2, 3)}
    best = min(shifts, key=lambda shift: shifts[shift])
    assert shifts[best] < 1e-9
    assert abs(best) == moved
