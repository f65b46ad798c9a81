"""The survey's findings on Pyro, shown by NumPy and explicit formulas alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.shown import differences, normal, off, reproducible  # noqa: F401

pytestmark = pytest.mark.usefixtures("reproducible")

EXACT = 1e-12


@pytest.fixture
def T() -> Any:
    return pytest.importorskip("pyro.distributions.transforms", reason="pyro-ppl is not installed")


def moved(layer: Any, by: float = 0.3) -> Any:
    """A layer in float64 at other parameters than the first."""
    layer.double()
    for parameter in layer.parameters():
        parameter.data.add_(by * torch.randn_like(parameter))
    return layer


def test_pyro_sylvester_is_not_triangular(T: Any) -> None:
    """``y = x + tanh(x S Q' + b) Q R``: its determinant is that of ``I + H Q R S Q'``."""
    layer, x = moved(T.sylvester(4)), normal(3, 4)
    z = layer(x)
    logdet = layer.log_abs_det_jacobian(x, z).detach()
    exact = np.linalg.slogdet(differences(lambda v: layer(v.clone()), x))[1]
    Q, R, S = (matrix.detach().numpy() for matrix in (layer.Q(x), layer.R(), layer.S()))
    slopes = 1 - np.tanh(x.numpy() @ S @ Q.T + layer.b.detach().numpy()) ** 2
    whole = [np.linalg.slogdet(np.eye(4) + np.diag(h) @ Q @ R @ S @ Q.T)[1] for h in slopes]
    assert off(whole, exact) < 1e-8
    assert off(np.log1p(slopes * np.diag(R) * np.diag(S)).sum(1), logdet) < 1e-6
    assert off(logdet, exact) > 1e-2


def test_pyro_elu_inverse_adds_a_constant(T: Any) -> None:
    """The inverse is ``log(1 + y + 1e-8)`` where ELU is ``exp(x) - 1``."""
    layer = T.ELUTransform()
    x = torch.tensor([-0.5, -1.0, -2.0], dtype=torch.float64)
    y = np.expm1(x.numpy())
    assert off(layer(x), y) < EXACT
    back = layer.inv(torch.from_numpy(y))
    assert off(back, np.log1p(y + 1e-8)) < EXACT
    assert off(back, x) > 1e-9


def test_pyro_softplus_is_linear_from_twenty_on(T: Any) -> None:
    """``softplus`` returns x itself from 20 on; its inverse is that of ``log(1 + exp(x))``."""
    layer = T.SoftplusTransform()
    x = torch.tensor([20.5], dtype=torch.float64)
    assert float(layer(x)) == 20.5
    assert float(np.logaddexp(0.0, 20.5)) - 20.5 > 1e-9
    assert off(layer.inv(layer(x)), x) > 1e-10
    assert off(layer.log_abs_det_jacobian(x, layer(x)), 0) > 1e-10  # the slope of x is 1


def test_pyro_cosine_weights_keep_their_first_dtype(T: Any) -> None:
    """Weights of the first call are used for every later one of the same size."""
    x = normal(2, 5)
    fresh, used = T.DiscreteCosineTransform(smooth=1.0), T.DiscreteCosineTransform(smooth=1.0)
    used(x.float())
    exact = fresh(x)
    weights = (np.arange(5) + 0.5) / np.exp(np.log(np.arange(5) + 0.5).mean())
    plain = T.DiscreteCosineTransform()(x)
    assert off(plain.numpy() * weights, exact) < EXACT
    assert used(x).dtype == torch.float64
    assert 1e-9 < off(used(x), exact) < 1e-5


def test_pyro_batchnorm_of_each_batch(T: Any) -> None:
    """In training mode the inverse takes the statistics of its batch, forward those that run."""
    layer, y = T.batchnorm(3).double().train(), 2 * normal(6, 3) + 1
    back = layer.inv(y.clone()).detach()
    scaled = (y - y.mean(0)) / (y.var(0) + 1e-5).sqrt() * (1 + 1e-6)
    assert off(back, scaled) < 1e-9
    assert off(layer.moving_mean, 0.1 * y.mean(0)) < 1e-9
    assert off(layer(back.clone()).detach(), y) > 0.1


@pytest.mark.parametrize("name", ["affine_coupling", "affine_autoregressive"])
def test_pyro_clips_without_the_gradient(T: Any, name: str) -> None:
    """The log-scale is clipped to [-5, 3]; beyond, its gradient is said to be that of no clip."""
    layer = getattr(T, name)(2, [4]).double()
    last = [m for m in layer.modules() if isinstance(m, torch.nn.Linear)][-1]
    last.bias.data.fill_(50.0)
    x = normal(1, 2)
    z = layer(x.clone())
    (told,) = torch.autograd.grad(z.sum(), last.bias)

    def total(shift: float) -> float:
        with torch.no_grad():
            last.bias.add_(shift)
            found = float(layer(x.clone()).sum())
            last.bias.sub_(shift)
        return found

    exact = (total(1e-4) - total(-1e-4)) / 2e-4
    assert abs(float(told.sum()) - exact) > 1


@pytest.mark.parametrize("stable", [False, True])
def test_pyro_autoregressive_inverse_is_float32(T: Any, stable: bool) -> None:
    """The inverse begins with zeros of torch's default dtype: a float64 network refuses them."""
    layer = T.affine_autoregressive(3, [8], stable=stable)
    x = normal(2, 3)
    assert off(layer.inv(layer(x.float()).clone()).detach(), x) < 1e-4  # in float32 it comes back
    layer = layer.double()
    z = layer(x).detach().clone()
    with pytest.raises(RuntimeError, match="must have the same dtype"):
        layer.inv(z)


def through(layer: Any, x: torch.Tensor) -> tuple[Any, Any]:
    """Log-dets of a one-way transform, as it returns them and by differences."""
    exact = np.linalg.slogdet(differences(lambda v: layer(v.clone()), x))[1]
    z = layer(x)
    return layer.log_abs_det_jacobian(x, z).detach().numpy(), exact


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "ELU", "LeakyReLU"])
def test_pyro_neural_autoregressive_adds_a_constant(T: Any, activation: str) -> None:
    """``log(A + 1e-8)`` for the log of a slope ``A``, by the layer's own formula without it."""
    layer = moved(T.neural_autoregressive(3, [8], activation=activation, width=4))
    x = 0.3 * normal(4, 3)
    found, exact = through(layer, x)
    A, W, _ = (value.detach() for value in layer.arn(x))
    A, W = torch.nn.functional.softplus(A), torch.softmax(W, dim=-2)
    inner = layer.T.log_abs_det_jacobian(layer._cached_C, layer._cached_T_C).detach()
    outer = layer._cached_log_df_inv_dx.detach()
    plain = ((W * A * inner.exp()).sum(-2).log() + outer).sum(1).numpy()
    assert off(plain, exact) < 1e-7  # what is right, by differences
    assert 1e-9 < off(found, plain) < 6 * np.log1p(1e-8 / A.numpy()).max()


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "ELU"])
def test_pyro_neural_autoregressive_saturates(T: Any, activation: str) -> None:
    """Close to the end of an activation its inverse has lost digits: float32 is far off."""
    layer = moved(T.neural_autoregressive(3, [8], activation=activation, width=4))
    x = {"sigmoid": 20, "tanh": 3, "ELU": 12}[activation] * normal(64, 3)
    wide = layer.log_abs_det_jacobian(x, layer(x)).detach()
    layer, narrow_x = layer.float(), x.float()
    narrow = layer.log_abs_det_jacobian(narrow_x, layer(narrow_x)).detach()
    assert off(narrow, wide) > 1e-3
    assert float((narrow - wide).abs().median()) < 1e-4


@pytest.mark.parametrize("residual", [None, "normal", "gated"])
def test_pyro_block_autoregressive_has_two_constants(T: Any, residual: str | None) -> None:
    """A norm is ``sqrt(s) + 1e-8`` in the weights and ``sqrt(s + 1e-8)`` in their logarithms."""
    layer = moved(T.block_autoregressive(3, hidden_factors=[4, 4], residual=residual), 0.1)
    x = 0.3 * normal(4, 3)
    found, exact = through(layer, x)
    weights, logs = (value.detach() for value in layer.layers[0].get_weights())
    inside = weights[layer.layers[0].mask_d.bool()]  # of blocks of 4 x 1
    assert 1e-10 < off(inside.log(), logs.flatten()) < 1e-6
    assert 1e-10 < off(found, exact) < 1e-5


def test_pyro_polynomial_adds_a_constant(T: Any) -> None:
    """``log(slope + 1e-8)``; and 1/3 in float32 integrates ``t^2``."""
    layer, x = moved(T.polynomial(3, [8])), 0.5 * normal(4, 3)
    found, exact = through(layer, x)
    assert off(layer.mask[0, 2], 1 / 3) > 1e-9
    assert 1e-9 < off(found, exact) < 1e-5


@pytest.mark.parametrize("conditional", [False, True])
def test_pyro_quadratic_autoregressive_spline_raises(T: Any, conditional: bool) -> None:
    options: dict[str, Any] = {"count_bins": 4, "order": "quadratic"}
    layer = T.spline_autoregressive(3, [8], **options)
    assert layer.arn.param_dims == [4, 4, 3, 4]
    if conditional:
        whole = T.conditional_spline_autoregressive(3, 2, [8], **options)
        layer = whole.condition(normal(2, 2).float())
    with pytest.raises(ValueError, match="too many values to unpack"):
        layer(normal(2, 3).float())


def test_pyro_conditional_channels_take_one_context(T: Any) -> None:
    layer = T.conditional_generalized_channel_permute(2, channels=3, hidden_dims=[8])
    x = normal(4, 3, 2, 2).float()
    alone = layer.condition(normal(2).float())
    assert alone.log_abs_det_jacobian(x, alone(x)).shape == (4,)
    several = layer.condition(normal(4, 2).float())
    assert several(x).shape == x.shape
    with pytest.raises(RuntimeError, match="diag"):
        several.log_abs_det_jacobian(x, several(x))
