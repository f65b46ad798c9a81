"""The survey's findings on normflows and nflows, shown by NumPy and explicit formulas alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from tests.shown import differences, normal, off, reproducible  # noqa: F401

pytestmark = [
    pytest.mark.usefixtures("reproducible"),
    pytest.mark.filterwarnings("ignore:torch.triangular_solve is deprecated:UserWarning"),
    pytest.mark.filterwarnings("ignore:torch.lu is deprecated:UserWarning"),
]

#: Rounding of float64 in these small computations stays below; of float32 it does not.
EXACT, NARROW = 1e-12, 1e-9


@pytest.fixture
def nf() -> Any:
    return pytest.importorskip("normflows", reason="normflows is not installed")


@pytest.fixture
def nt() -> Any:
    return pytest.importorskip("nflows.transforms", reason="nflows is not installed")


def test_normflows_logdet_in_float32(nf: Any) -> None:
    x = normal(2, 4)
    for mode in ("swap", "shuffle"):
        assert nf.flows.Permute(4, mode)(x)[1].dtype == torch.float32
    scale = nf.flows.AffineConstFlow((4,)).double()
    scale.s.data.fill_(1 / 3)
    assert off(scale(x)[1].detach(), 4 / 3) < EXACT  # the sum of four log-scales
    flow = nf.NormalizingFlow(nf.distributions.DiagGaussian(4), [scale])
    whole = (flow.forward_and_log_det, flow.inverse_and_log_det)
    parts = (nf.flows.Composite([scale]).forward, nf.flows.Composite([scale]).inverse)
    for forward, inverse in (whole, parts):
        for call, expected in ((forward, 4 / 3), (inverse, -4 / 3)):
            logdet = call(x)[1].detach()
            assert logdet.dtype == torch.float32
            assert NARROW < off(logdet, expected) < 1e-6


def test_normflows_planar_in_float32(nf: Any) -> None:
    """The map is piecewise linear: central differences are exact away from its kink."""
    layer, x = nf.flows.Planar((4,), act="leaky_relu").double(), normal(8, 4)
    with torch.no_grad():
        z, logdet = layer(x)
        back, _ = layer.inverse(z)
    assert logdet.dtype == torch.float32
    J = differences(lambda v: layer(v)[0], x, step=1e-4)
    exact = np.linalg.slogdet(J)[1]
    assert NARROW < off(logdet, exact) < 1e-6
    assert NARROW < off(back, x) < 1e-6


def test_normflows_circular_splines_swallow_nan(nf: Any) -> None:
    for name in ("CircularCoupled", "CircularAutoregressive"):
        cls = getattr(nf.flows, f"{name}RationalQuadraticSpline")
        layer, x = cls(4, 1, 8, [0, 3], tail_bound=2.0), 0.1 * normal(2, 4).float()
        x[0, 3] = math.nan
        with torch.no_grad():
            z = layer(x)[0]
        assert z[0, 3] == 0  # what the output is made of before bins are looked up


def test_normflows_circular_splines_collapse(nf: Any) -> None:
    """Coordinate 1 has linear tails: the identity outside, as without circular ones."""
    x = torch.tensor([[0.3, 2.5, 0.3, 0.3], [0.3, -7.0, 0.3, 0.3]])
    for kind in ("Coupled", "Autoregressive"):
        cls = getattr(nf.flows, f"{kind}RationalQuadraticSpline")
        circular = getattr(nf.flows, f"Circular{kind}RationalQuadraticSpline")
        plain = cls(4, 1, 8, tail_bound=1.0)(x)[0].detach()
        z, logdet = circular(4, 1, 8, [0, 3], tail_bound=1.0)(x)
        assert off(plain[:, 1], [2.5, -7.0]) < 1e-6
        assert z[0, 1] == z[1, 1] == 0  # two points become one
        assert logdet.isfinite().all()


def test_normflows_shift_in_place(nf: Any) -> None:
    layer, x = nf.transforms.Shift(-0.5), normal(2, 3)
    before = x.clone()
    z, _ = layer(x)
    assert z is x
    assert torch.equal(x, before + 0.5)
    layer.inverse(x)
    assert torch.equal(x, before + 0.5 - 0.5)


def test_batch_statistics(nf: Any, nt: Any) -> None:
    """The sample is the same, its z is not: it is (x - mean) / deviation of its batch."""
    x = normal(6, 4)
    others = torch.cat([x[:1], 3 * x[1:] + 1])
    for layer in (nf.flows.BatchNorm(), nt.BatchNorm(4).double()):
        z, moved = (layer(v)[0].detach().numpy() for v in (x, others))
        assert off(z[0], moved[0]) > 0.1
        scale = z.std(axis=0)
        y = x.numpy()
        assert off(z / scale, (y - y.mean(axis=0)) / y.std(axis=0)) < 0.01


def residual(nf: Any) -> Any:
    net = nf.nets.LipschitzMLP([2, 8, 2], init_zeros=False)
    return nf.flows.Residual(net, brute_force=True).double()


def test_normflows_residual_changes_its_buffers(nf: Any) -> None:
    layer, x = residual(nf), normal(3, 2)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    layer.inverse(x)
    changed = [name for name, v in layer.state_dict().items() if not torch.equal(v, before[name])]
    assert any(name.endswith(".scale") for name in changed)


def test_normflows_residual_unused_parameters(nf: Any) -> None:
    layer, x = residual(nf).eval(), normal(3, 2)
    unused = [layer.iresblock.geom_p, layer.iresblock.lamb]
    z, logdet = layer.inverse(x)
    scalar = z.sum() + logdet.sum()
    assert torch.autograd.grad(scalar, unused, allow_unused=True) == (None, None)
    for parameter in unused:
        parameter.data.add_(0.3)
    again = layer.inverse(x)
    assert torch.equal(again[0], z)
    assert torch.equal(again[1], logdet)


def test_normflows_residual_stops_for_the_batch(nf: Any) -> None:
    """Within the tolerance of 1e-5 on squares, a sample ends elsewhere in other company."""
    layer = residual(nf).eval()
    moved = []
    for seed in range(5):
        x = normal(4, 2, seed=seed)
        layer(x)
        x[1:] *= 40
        alone = layer(x[:1])[0].detach()
        moved.append(off(layer(x)[0].detach()[:1], alone))
        x[1] = math.nan  # never converges: the others go on to the limit of the iteration
        moved.append(off(layer(x)[0].detach()[:1], alone))
    assert EXACT < max(moved[::2]) < 0.01
    assert EXACT < max(moved[1::2]) < 0.01


def test_normflows_residual_gradient_of_an_iteration(nf: Any) -> None:
    """Autograd through an iteration that has stopped is as approximate as what it returns."""
    layer, x = residual(nf).eval(), normal(1, 2)
    layer(x)
    J = differences(lambda v: layer.inverse(v)[0], layer(x)[0].detach(), step=1e-5)[0]
    inverse = torch.autograd.functional.jacobian(lambda v: layer(v)[0], x)[0, :, 0].numpy()
    assert NARROW < off(inverse @ J, np.eye(2)) < 0.05


def test_nflows_cached_inverse_of_float64(nt: Any) -> None:
    for dtype in (torch.float32, torch.float64):
        layer = nt.LULinear(4, using_cache=True).to(dtype).eval()
        x = normal(2, 4).to(dtype)
        z, _ = layer(x)
        if dtype == torch.float32:
            assert off(layer.inverse(z)[0].detach(), x) < 1e-5
        else:
            with pytest.raises(RuntimeError, match="same dtype"):
                layer.inverse(z)


def test_nflows_cache_outlives_an_update(nt: Any) -> None:
    layer, x = nt.LULinear(4, using_cache=True).eval(), normal(2, 4).float()
    before = layer(x)[0]
    layer.lower_entries.data.add_(1.0)
    assert torch.equal(layer(x)[0], before)
    L = np.eye(4)
    L[np.tril_indices(4, -1)] = layer.lower_entries.detach()
    U = np.diag(np.log1p(np.exp(layer.unconstrained_upper_diag.detach().numpy())) + layer.eps)
    U[np.triu_indices(4, 1)] = layer.upper_entries.detach()
    due = x.numpy() @ (L @ U).T + layer.bias.detach().numpy()
    assert off(before.detach(), due) > 0.1
    assert off(layer.train()(x)[0].detach(), due) < 1e-5


def test_nflows_naive_linear_has_no_inverse_left(nt: Any) -> None:
    layer, x = nt.NaiveLinear(3, orthogonal_initialization=False), normal(2, 3).float()
    layer(x)
    with pytest.raises(RuntimeError, match=r"torch\.solve"):
        layer.inverse(x)


def test_nflows_squeeze_by_three(nt: Any) -> None:
    layer = nt.SqueezeTransform(3)
    z, _ = layer(normal(2, 1, 6, 3))
    assert z.shape == (2, 9, 2, 1)
    with pytest.raises(ValueError, match="number of channel"):
        layer.inverse(z)


def test_nflows_leaky_relu_in_float32(nt: Any) -> None:
    layer, x = nt.LeakyReLU(0.3), normal(5, 4)
    exact = (x.numpy() < 0).sum(axis=1) * math.log(0.3)
    for call, sign in ((layer.forward, 1), (layer.inverse, -1)):
        logdet = call(x)[1]
        assert logdet.dtype == torch.float32
        assert NARROW < off(logdet, sign * exact) < 1e-6
    whole = nt.CompositeTransform([layer])(x)[1]
    assert whole.dtype == torch.float64
    assert NARROW < off(whole, exact) < 1e-6


def test_nflows_gated_linear_unit(nt: Any) -> None:
    x, context = normal(3, 4), normal(3, 4, seed=1)
    z, logdet = nt.GatedLinearUnit()(x, context)
    gate = 1 / (1 + np.exp(-context.numpy()))
    assert off(z, gate * x.numpy()) < EXACT
    assert logdet.shape == (12,)  # due: one for each of 3 samples
    assert off(logdet.reshape(3, 4).sum(1), np.log(gate).sum(1)) < EXACT


def test_nflows_linear_splines_in_float32(nt: Any) -> None:
    """A piecewise linear map through the edges of equal bins, by ``np.interp`` both ways."""
    layer = nt.PiecewiseLinearCDF([1], num_bins=10).double()
    u = torch.rand(40, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    share = np.exp(next(layer.parameters()).detach().numpy().reshape(-1))
    edges = np.linspace(0, 1, 11)
    heights = np.concatenate([[0.0], np.cumsum(share / share.sum())])
    with torch.no_grad():
        z, (x, logdet) = layer(u)[0], layer.inverse(u)
    assert off(z[:, 0], np.interp(u[:, 0], edges, heights)) < EXACT
    assert NARROW < off(x[:, 0], np.interp(u[:, 0], heights, edges)) < 1e-5
    bins = np.searchsorted(heights, u[:, 0].numpy()) - 1
    assert NARROW < off(logdet, np.log(0.1 / np.diff(heights)[bins])) < 1e-4
