"""The survey's findings on torchflows, flowtorch, glasflow and normflowpy, without the kit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.shown import differences, normal, off, reproducible  # noqa: F401

pytestmark = [
    pytest.mark.usefixtures("reproducible"),
    pytest.mark.filterwarnings("ignore:Using a non-tuple sequence:UserWarning"),
]

EXACT = 1e-12


def module(name: str) -> Any:
    package = name.partition(".")[0]
    return pytest.importorskip(name, reason=f"{package} is not installed")


def moved(layer: Any, by: float = 0.3) -> Any:
    """A layer in float64 at other parameters than the first."""
    layer.double()
    for parameter in layer.parameters():
        parameter.data.add_(by * torch.randn_like(parameter))
    return layer


def exact_logdet(call: Any, x: torch.Tensor) -> Any:
    return np.linalg.slogdet(differences(lambda v: call(v)[0], x))[1]


def test_torchflows_radial_takes_entries_for_norms() -> None:
    """Each entry has a radius of its own, ``|z_i - z0_i|``, and ``n - 1`` others all the same."""
    layer = module("torchflows.bijections.finite.residual.radial").Radial((3,)).double()
    layer.beta.data.fill_(0.7)
    z = normal(4, 3)
    found = layer.inverse(z)[1].detach()
    alpha, z0 = float(layer.alpha.detach()), layer.z0.detach().numpy()
    r = np.abs(z.numpy() - z0)
    alone = np.log1p(0.7 * alpha / (alpha + r) ** 2)  # of z + b (z - z0) / (a + |z - z0|)
    others = np.log1p(0.7 / (alpha + r)) * 2
    exact = exact_logdet(layer.inverse, z)
    assert off(alone.sum(1), exact) < 1e-6
    assert off((alone + others).sum(1), found) < 1e-6
    assert off(found, exact) > 0.1


def test_torchflows_radial_adds_constants() -> None:
    """``1 / (a + r + 1e-8)`` in the map, ``1 / ((a + r)^2 + 1e-8)`` in its slope."""
    layer = module("torchflows.bijections.finite.residual.radial").Radial((1,)).double()
    layer.beta.data.fill_(0.7)
    z = normal(4, 1)
    assert 1e-10 < off(layer.inverse(z)[1].detach(), exact_logdet(layer.inverse, z)) < 1e-6


def test_torchflows_sigmoids_add_logarithms_of_a_sum() -> None:
    """The log of a sum over hidden units is taken for the sum of their logs, with a sign."""
    sigmoid = module("torchflows.bijections.finite.autoregressive.transformers.combination.sigmoid")
    layer = sigmoid.Sigmoid((1,), hidden_dim=4)
    x, h = normal(5), 300 * normal(5, 12)
    z, found = layer.forward_1d(x, h)
    a, b, w, _ = (value.numpy() for value in layer.extract_parameters(h))
    s = 1 / (1 + np.exp(-(a * x.numpy()[:, None] + b)))
    d = (w * s).sum(1)
    assert off(z, np.log(d / (1 - d))) < 1e-9
    slope = (w * a * s * (1 - s)).sum(1) / (d * (1 - d))
    step = 1e-6
    moves = layer.forward_1d(x + step, h)[0] - layer.forward_1d(x - step, h)[0]
    assert off(slope, moves / (2 * step)) < 1e-7
    summed = np.log(w) + np.log(s) + np.log(1 - s) + np.log(a)
    told = (summed + (np.log(d) - np.log(1 - d))[:, None]).sum(1)
    assert off(told, found) < 1e-6
    assert off(found, np.log(slope)) > 1


@pytest.mark.parametrize("kind", ["Deep", "Dense", "DeepDense"])
def test_torchflows_sigmoid_couplings_against_differences(kind: str) -> None:
    """They begin near the identity, whose log-det is near 0."""
    layers = module("torchflows.bijections.finite.autoregressive.layers")
    layer, x = getattr(layers, f"{kind}SigmoidalCoupling")((2,)).double(), normal(3, 2)
    exact = exact_logdet(layer, x)
    assert off(exact, 0) < 0.1
    assert (layer(x)[1].detach().numpy() < -10).all()


def test_torchflows_radial_folds() -> None:
    """Nothing holds beta above -alpha: below it the slope at z0 is negative."""
    layer = module("torchflows.bijections.finite.residual.radial").Radial((1,)).double()
    layer.beta.data.fill_(-2 * float(layer.alpha.detach()))
    z = layer.z0.detach()[None].clone()
    near, far = z + 1e-4, z + 100.0
    moved_near = layer.inverse(near)[0] - layer.inverse(z - 1e-4)[0]
    moved_far = layer.inverse(far + 1)[0] - layer.inverse(far)[0]
    assert float(moved_near.detach()) < 0 < float(moved_far.detach())


def test_torchflows_logdets_in_float32() -> None:
    layers = module("torchflows.bijections.finite.autoregressive.layers")
    matrix = module("torchflows.bijections.finite.matrix")
    one = torch.Size((3,))
    for cls in (layers.ElementwiseShift, layers.ShiftCoupling, matrix.HouseholderProductMatrix,
                matrix.permutation.RandomPermutationMatrix,
                matrix.permutation.ReversePermutationMatrix):  # fmt: skip
        assert cls(one).double()(normal(2, 3))[1].dtype == torch.float32


def test_torchflows_lu_matrix_refuses_float64() -> None:
    layer = module("torchflows.bijections.finite.matrix").LUMatrix((4,))
    assert bool(layer(normal(2, 4).float())[0].isfinite().all())
    with pytest.raises(RuntimeError, match="dtypes match"):
        layer.double()(normal(2, 4))


def test_torchflows_splines_compute_at_fifty() -> None:
    """Knots lie in [-50, 50], so that what is computed from them is rounded as 50 is: to 7e-15."""
    layers = module("torchflows.bijections.finite.autoregressive.layers")
    layer, z = layers.RQSCoupling((5,)).double(), normal(64, 5)
    back = layer(layer.inverse(z)[0])[0].detach()
    assert 1e-15 < off(back, z) <= 2 * np.spacing(50.0)


def test_torchflows_masked_inverse_takes_the_logdet_elsewhere() -> None:
    """The last pass inverts entries that are inverted already: its log-det is at x, not at z."""
    layers = module("torchflows.bijections.finite.autoregressive.layers")
    layer, x = moved(layers.RQSForwardMaskedAutoregressive((3,))), normal(4, 3)
    z, logdet = (value.detach() for value in layer(x))
    back, found = (value.detach() for value in layer.inverse(z))
    assert off(back, x) < 1e-12
    assert off(logdet, exact_logdet(layer, x)) < 1e-8
    assert off(exact_logdet(layer.inverse, z), -logdet) < 1e-8
    assert off(found, -logdet) > 1e-7


def test_torchflows_one_by_one_is_that_of_one_pixel() -> None:
    base = module("torchflows.bijections.finite.multiscale.base")
    layer = moved(base.Invertible1x1ConvolutionalCoupling((2, 4, 4)).eval(), 0.2)
    x = normal(2, 2, 4, 4)
    found, exact = layer(x)[1].detach(), exact_logdet(layer, x)
    assert off(16 * found, exact) < 1e-6
    assert off(found, exact) > 0.1


def test_torchflows_convolutions_normalise_batches() -> None:
    """The network that a coupling is conditioned by has batch normalisation."""
    base = module("torchflows.bijections.finite.multiscale.base")
    affine = module("torchflows.bijections.finite.autoregressive.transformers.linear.affine")
    x = normal(4, 2, 4, 4)
    for layer in (base.CheckerboardCoupling((2, 4, 4), affine.Affine),
                  base.ChannelWiseCoupling((2, 4, 4), affine.Affine),
                  base.Invertible1x1ConvolutionalCoupling((2, 4, 4))):  # fmt: skip
        moved(layer, 0.2).train()
        assert any(isinstance(part, nn.BatchNorm2d) for part in layer.modules())
        assert off(layer(x)[0][:2].detach(), layer(x[:2])[0].detach()) > 1e-4


def test_glasflow_more_reflections_than_features_are_nan() -> None:
    """Ten reflections are made for any number of features; beyond it their vectors are 0."""
    flows = module("glasflow.flows")
    few, many = (
        flows.RealNVP(n_inputs=n, n_transforms=2, n_neurons=8, linear_transform="svd")
        for n in (4, 12)
    )
    vectors = [p for name, p in few.named_parameters() if name.endswith("q_vectors")]
    assert all(len(v) == 10 and bool((v == 0).all(dim=1).any()) for v in vectors)
    assert bool(few(normal(3, 4).float())[0].isnan().any())
    assert bool(many(normal(3, 12).float())[0].isfinite().all())


def test_torchflows_householder_sylvester_raises() -> None:
    sylvester = module("torchflows.bijections.finite.residual.sylvester")
    with pytest.raises(RuntimeError, match="does not broadcast"):
        sylvester.HouseholderSylvester((4,)).inverse(normal(2, 4).float())


def test_torchflows_actnorm_starts_again_when_it_is_loaded() -> None:
    """That it has started is an attribute, which no state_dict holds."""
    layers = module("torchflows.bijections.finite.autoregressive.layers")
    layer, again = layers.ActNorm((3,)).double(), layers.ActNorm((3,)).double()
    layer(normal(8, 3))
    again.load_state_dict(layer.state_dict())
    assert torch.equal(again.value, layer.value)
    again(5 * normal(8, 3, seed=1) + 1)
    assert off(again.value.detach(), layer.value.detach()) > 1


def test_torchflows_rational_splines_add_a_constant() -> None:
    """5e-10 is added to a squared denominator, in the log-det alone."""
    spline = module(
        "torchflows.bijections.finite.autoregressive.transformers.spline.linear_rational"
    )
    layer = spline.LinearRational((1,))
    assert layer.eps == 5e-10
    x, h = 20 * normal(64).clamp(-2, 2), 2 * normal(64, 32)
    found = layer.forward_1d(x, h)[1]
    step = 1e-6
    moves = layer.forward_1d(x + step, h)[0] - layer.forward_1d(x - step, h)[0]
    exact = torch.log(moves / (2 * step))
    with_none = spline.LinearRational((1,))
    with_none.eps = 0.0
    assert off(with_none.forward_1d(x, h)[1], exact) < 1e-6
    assert off(with_none.forward_1d(x, h)[1], found) > 1e-10


def test_flowtorch_elu_and_softplus() -> None:
    """The constants of Pyro's: 1e-8 in a logarithm, linear from 20 on."""
    fb = module("flowtorch.bijectors")
    elu, softplus = (cls(shape=torch.Size([1])) for cls in (fb.ELU, fb.Softplus))
    y = np.expm1(np.array([[-1.0], [-2.0]]))
    assert off(elu.inverse(torch.from_numpy(y)), np.log1p(y + 1e-8)) < EXACT
    assert off(elu.inverse(torch.from_numpy(y)), np.log1p(y)) > 1e-9
    x = torch.tensor([[20.5]], dtype=torch.float64)
    assert float(softplus.forward(x)) == 20.5
    assert off(softplus.inverse(torch.tensor([[20.5]], dtype=torch.float64)), 20.5) > 1e-10


def test_flowtorch_inverted_has_the_sign_of_the_other() -> None:
    """``Invert`` of a scale by s has slope 1/s, and says log s."""
    fb, parameters = module("flowtorch.bijectors"), module("flowtorch.parameters")
    layer = fb.Invert(fb.Affine(parameters.Tensor()), shape=torch.Size([1])).double()
    for parameter in layer.parameters():
        parameter.data.fill_(0.5)
    x = normal(3, 1)
    y = layer.forward(x)
    exact = np.log(differences(lambda v: layer.forward(v).as_subclass(torch.Tensor), x)[:, 0, 0])
    assert off(exact, -0.5) < 1e-8
    assert off(layer.log_abs_det_jacobian(x, y).detach(), 0.5) < EXACT


def test_flowtorch_permutation_is_drawn_in_the_first_call() -> None:
    """It is an attribute, drawn from torch's generator: another layer has another for good."""
    fb = module("flowtorch.bijectors")
    layer, again = (fb.Permute(shape=torch.Size([5])) for _ in range(2))
    x = torch.arange(5.0)[None]
    torch.manual_seed(0)
    first = layer.forward(x)
    assert not layer.state_dict()
    again.load_state_dict(layer.state_dict())
    torch.manual_seed(1)
    assert not torch.equal(again.forward(x), first)


def test_flowtorch_clips_without_the_gradient() -> None:
    """The log-scale is clipped to [-5, 3]; beyond, its gradient is said to be that of no clip."""
    fb, parameters = module("flowtorch.bijectors"), module("flowtorch.parameters")
    layer = fb.Affine(parameters.Tensor(), shape=torch.Size([1])).double()
    log_scale = list(layer.parameters())[1]
    log_scale.data.fill_(10.0)
    x = torch.ones(1, 1, dtype=torch.float64)
    y = layer.forward(x).as_subclass(torch.Tensor)
    (told,) = torch.autograd.grad(y.sum(), log_scale)
    log_scale.data.fill_(10.001)
    assert off(layer.forward(x).detach(), y.detach()) < EXACT  # it does not move
    assert float(told.sum()) > 1


def test_normflowpy_logarithm_of_a_negative_scale() -> None:
    layer = module("normflowpy.flows").UserDefinedAffineFlow(-2.0, 0.5).double()
    x = normal(3, 4)
    z, logdet = layer(x)
    assert off(z.detach(), (x - 0.5) / -2) < EXACT
    assert bool(logdet.isnan().all())


def test_normflowpy_actnorm_from_one_sample() -> None:
    layer = module("normflowpy.flows").ActNorm((4,))
    with pytest.warns(UserWarning, match="degrees of freedom"):
        layer(normal(1, 4).float())
    layer(normal(8, 4).float())
    assert bool(layer.s.isnan().all())


def test_normflowpy_logdets_in_float32() -> None:
    """``torch.zeros`` without a dtype, into which float64 is added."""
    flows, x = module("normflowpy.flows"), normal(3, 4)
    model = module("normflowpy.nf_model")
    maf = moved(flows.MAF(4, False, nh=8))
    coupling = moved(flows.AffineCoupling((4,), True, net_class=Net, nh=8, scale=False))
    whole = model.NormalizingFlow([maf, coupling])
    z, logdet = maf(x)
    for found in (maf.backward(z.detach())[1], coupling(x)[1], whole(x)[1]):
        assert found.dtype == torch.float32
    assert logdet.dtype == torch.float64
    assert 1e-10 < off(maf.backward(z.detach())[1].detach(), -logdet.detach()) < 1e-6


class Net(nn.Module):
    """A linear map of half of the features."""

    def __init__(self, x_shape: Any, n_out: int, n_hidden: int) -> None:
        super().__init__()
        inputs = x_shape if isinstance(x_shape, int) else x_shape[0] // 2
        self.map = nn.Linear(inputs, n_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.map(x)
        return found


@pytest.mark.parametrize("library", ["normflowpy", "glasflow"])
def test_batch_norm_of_each_batch(library: str) -> None:
    """In training mode what becomes of a sample depends on the others."""
    if library == "normflowpy":
        layer = module("normflowpy.flows.flow_modules.batch_normalization").BatchNorm(3)
    else:
        layer = module("glasflow.nflows.transforms.normalization").BatchNorm(3)
    x = normal(6, 3)
    layer.double().train()
    together, fewer = layer(x)[0].detach(), layer(x[:3])[0].detach()
    assert off(together[:3], fewer) > 1e-2
