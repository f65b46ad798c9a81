"""Bijections on JAX: right ones are ok, wrong ones fail by the right check, flags are kept."""

from __future__ import annotations

import copy
import importlib.util
import math
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch

if not all(map(importlib.util.find_spec, ("flowjax", "numpyro"))):
    pytest.skip("flowjax is not installed: pip install '.[jax]'", allow_module_level=True)

import equinox as eqx
import flowjax.bijections as fb
import jax
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions.transforms as nt
import paramax

import emcheck
from emcheck.adapters import adapt
from properties.portions import portion

distrax: Any = None
if importlib.util.find_spec("distrax") is not None:
    import distrax
    from tensorflow_probability.substrates.jax import bijectors as tb

#: distrax needs a nightly build of TFP, which the tests do not install.
needs_distrax = pytest.mark.skipif(
    distrax is None, reason="distrax is not installed: pip install '.[jax]'"
)

KEY = jr.key(0)


class Scaled(fb.AbstractBijection):
    """``z = exp(s) x``, with a mistake if one is asked for."""

    log_scale: jax.Array
    fault: str
    shape: tuple[int, ...]
    cond_shape: None = None

    def __init__(self, fault: str = "") -> None:
        self.log_scale, self.fault, self.shape = jnp.zeros(3), fault, (3,)

    def transform_and_log_det(self, x: Any, condition: Any = None) -> Any:
        logdet = self.log_scale.sum()
        if self.fault == "sign":
            logdet = -logdet
        if self.fault == "factor":
            logdet = logdet / 3
        return x * jnp.exp(self.log_scale), logdet

    def inverse_and_log_det(self, y: Any, condition: Any = None) -> Any:
        half = 0.5 if self.fault == "inverse" else 1.0
        return y * jnp.exp(-half * self.log_scale), -self.log_scale.sum()


class Doubled(distrax.Bijector if distrax else object):  # type: ignore[misc]
    """``z = 2 x`` on vectors of three, with a log-det that is handed in."""

    def __init__(self, logdet: float) -> None:
        super().__init__(event_ndims_in=1)
        self.logdet = logdet

    def forward_and_log_det(self, x: Any) -> Any:
        return 2 * x, jnp.full(x.shape[:-1], self.logdet, x.dtype)

    def inverse_and_log_det(self, y: Any) -> Any:
        return y / 2, jnp.full(y.shape[:-1], -self.logdet, y.dtype)


WEIGHT = 0.3 * np.random.default_rng(0).normal(size=(4, 4, 2)).astype(np.float32)


def coupling() -> Any:
    def conditioner(x: Any) -> Any:
        return jnp.einsum("...i,ijk->...jk", x, WEIGHT)

    def bijector(p: Any) -> Any:
        return distrax.ScalarAffine(shift=p[..., 0], log_scale=p[..., 1])

    return distrax.MaskedCoupling(jnp.arange(4) % 2 == 0, conditioner, bijector)


RIGHT: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "flowjax affine": (
        lambda: fb.Affine(jr.normal(KEY, (4, 3, 2)), jnp.ones((4, 3, 2))),
        (4, 3, 2),
    ),
    "flowjax permutation": (lambda: fb.Permute(jnp.array([2, 0, 1, 3])), (4,)),
    "flowjax spline": (lambda: fb.Vmap(_spline(), axis_size=3), (3,)),
    "flowjax coupling": (lambda: _flowjax_coupling(), (4,)),
    "flowjax autoregressive": (lambda: _autoregressive(), (3,)),
    "flowjax chain": (
        lambda: fb.Chain([fb.Affine(jnp.zeros(3), jnp.ones(3)), fb.Tanh((3,))]),
        (3,),
    ),
    "flowjax own": (Scaled, (3,)),
    "distrax affine": (
        lambda: distrax.ScalarAffine(jnp.zeros((2, 3)), jnp.ones((2, 3)) * 2),
        (2, 3),
    ),
    "distrax coupling": (coupling, (4,)),
    "distrax chain": (
        lambda: distrax.Chain([distrax.Block(distrax.Tanh(), 1), Doubled(LOG8)]),
        (3,),
    ),
    "numpyro": (lambda: nt.LowerCholeskyAffine(jnp.zeros(3), jnp.tril(jnp.ones((3, 3)))), (3,)),
    "tfp": (lambda: tb.Chain([tb.Tanh(), tb.Scale(jnp.array([1.0, 2.0, 3.0]))]), (3,)),
}

LOG8 = 3 * math.log(2)


def _spline() -> Any:
    return fb.RationalQuadraticSpline(knots=4, interval=3)


def _flowjax_coupling() -> Any:
    return fb.Coupling(
        KEY, transformer=fb.Affine(), untransformed_dim=2, dim=4, nn_width=8, nn_depth=1
    )


def _autoregressive() -> Any:
    return fb.MaskedAutoregressive(KEY, transformer=fb.Affine(), dim=3, nn_width=8, nn_depth=1)


def named(bijections: Mapping[str, object]) -> list[Any]:
    """The names, those of distrax and TFP where these are installed."""
    return [
        pytest.param(name, marks=needs_distrax) if name.startswith(("distrax", "tfp")) else name
        for name in bijections
    ]


def failed(report: emcheck.Report) -> set[str]:
    return {result.check for result in report.failures}


@pytest.mark.parametrize("name", portion(named(RIGHT), 5))
def test_right_bijections_are_ok(name: str) -> None:
    make, shape = RIGHT[name]
    layer = make()
    for seed in (0, 1):
        report = emcheck.check_layer(layer, shape, seed=seed, examples=2)
        assert report.ok, str(report)
        verdicts = {(r.check, r.verdict.name) for r in report.results}
        assert ("logdet_matches_jacobian", "PASS") in verdicts
        assert ("inverse_undoes_forward", "PASS") in verdicts
        assert ("gradient_of_latent", "PASS") in verdicts or adapt(layer).widest == torch.float32
        assert ("state_dict_restores", "UNSUPPORTED") in verdicts
        assert ("memory_layouts_agree", "UNSUPPORTED") in verdicts


WRONG: dict[str, tuple[Callable[[], Any], set[str], set[str]]] = {
    "flowjax sign": (
        lambda: Scaled("sign"),
        {"logdet_matches_jacobian", "logdets_cancel"},
        {"inverse_undoes_forward", "inverse_logdet_matches_jacobian"},
    ),
    "flowjax factor": (
        lambda: Scaled("factor"),
        {"logdet_matches_jacobian", "logdets_cancel"},
        {"inverse_undoes_forward", "inverse_logdet_matches_jacobian"},
    ),
    "flowjax inverse": (
        lambda: Scaled("inverse"),
        {"inverse_undoes_forward", "forward_undoes_inverse"},
        {"logdet_matches_jacobian"},
    ),
    "distrax sign": (lambda: Doubled(-LOG8), {"logdet_matches_jacobian"}, {"logdets_cancel"}),
    "distrax factor": (
        lambda: Doubled(LOG8 / 3),
        {"logdet_matches_jacobian", "inverse_logdet_matches_jacobian"},
        {"inverse_undoes_forward"},
    ),
}


@pytest.mark.parametrize("name", named(WRONG))
def test_wrong_bijections_fail(name: str) -> None:
    make, wrong, right = WRONG[name]
    report = emcheck.check_layer(make(), (3,), examples=2)
    assert not report.ok
    assert wrong <= failed(report), str(report)
    assert not right & failed(report), str(report)


def test_values_and_gradients_are_those_of_jax() -> None:
    bijection = _flowjax_coupling()
    layer = adapt(bijection)
    x = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
    z, logdet = jax.vmap(bijection.transform_and_log_det)(x)
    given = torch.from_numpy(x).requires_grad_(True)
    got, got_logdet = layer(given)
    np.testing.assert_allclose(got.detach().numpy(), z, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got_logdet.detach().numpy(), logdet, rtol=1e-5, atol=1e-6)
    (got.square().sum() + got_logdet.sum()).backward()

    def loss(x: Any) -> Any:
        z, logdet = jax.vmap(bijection.transform_and_log_det)(x)
        return (z**2).sum() + logdet.sum()

    np.testing.assert_allclose(given.grad.numpy(), jax.grad(loss)(x), rtol=1e-4, atol=1e-5)
    assert any(bool(p.grad.any()) for p in layer.parameters() if p.grad is not None)


def test_arrays_become_parameters_and_buffers() -> None:
    tree = fb.Chain(
        [
            paramax.non_trainable(fb.Loc(jnp.ones(3))),
            fb.Permute(jnp.array([2, 0, 1])),
            fb.Affine(jnp.zeros(3), jnp.ones(3)),
        ]
    )
    layer = adapt(tree)
    assert len(list(layer.parameters())) == 2
    assert {b.dtype for b in layer.buffers()} == {torch.float32, torch.int32}


@needs_distrax
def test_arrays_of_distrax_stay_as_given() -> None:
    assert not list(adapt(distrax.ScalarAffine(jnp.zeros(3), jnp.ones(3))).parameters())


def test_copies_act_on_their_own_numbers() -> None:
    layer, x = adapt(Scaled()), torch.ones(2, 3)
    copied = copy.deepcopy(layer)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.fill_(1.0)
    assert torch.equal(layer(x)[0], x)
    assert not torch.equal(copied(x)[0], x)
    assert copied.double()(x.double())[0].dtype == torch.float64


@pytest.fixture(params=[False, True])
def flag(request: pytest.FixtureRequest) -> Iterator[bool]:
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", request.param)
    yield request.param
    jax.config.update("jax_enable_x64", before)


def test_the_flag_of_64_bits_is_as_before(flag: bool) -> None:
    def make() -> Any:
        jax.config.update("jax_enable_x64", not flag)
        return fb.Affine(jnp.zeros(3), jnp.array([1.0, 2.0, 3.0]))

    report = emcheck.check_layer(make, (3,), examples=1)
    assert report.ok, str(report)
    assert jax.config.jax_enable_x64 is flag
    assert jnp.ones(1).dtype == (jnp.float64 if flag else jnp.float32)


@needs_distrax
def test_float64_needs_numbers_made_in_float64() -> None:
    with jax.enable_x64(True):
        wide = distrax.DiagLinear(jnp.array([1.0, 2.0, 3.0]) / 3)
    narrow = distrax.DiagLinear(jnp.array([1.0, 2.0, 3.0]) / 3)
    assert adapt(wide).widest == torch.float64
    assert adapt(narrow).widest == torch.float32
    report = emcheck.check_layer(wide, (3,), examples=1)
    assert report.ok, str(report)
    assert {r.dtype for r in report.results} == {"float32", "float64"}


def test_functions_of_jax_arrays_and_of_a_tree() -> None:
    tree = {"s": jnp.array([0.1, -0.2, 0.3])}

    def forward(p: Any, x: Any) -> Any:
        return x * jnp.exp(p["s"]), jnp.broadcast_to(p["s"].sum(), (len(x),))

    def inverse(p: Any, z: Any) -> Any:
        return z * jnp.exp(-p["s"])

    def wrong(p: Any, x: Any) -> Any:
        return x * jnp.exp(p["s"]), jnp.broadcast_to(p["s"][:2].sum(), (len(x),))

    report = emcheck.check_layer(adapt(tree, forward=forward, inverse=inverse), (3,), examples=2)
    assert report.ok, str(report)
    report = emcheck.check_layer(adapt(tree, forward=wrong, inverse=inverse), (3,), examples=2)
    assert failed(report) == {"logdet_matches_jacobian"}
    plain = adapt(forward=lambda x: (jnp.exp(x), x.sum(1)), inverse=jnp.log)
    report = emcheck.check_layer(plain, (3,), examples=2)
    assert report.ok, str(report)
    assert "functions of JAX arrays" in str(report)


def test_a_function_that_jax_cannot_compile_is_judged_all_the_same() -> None:
    def forward(x: Any) -> Any:
        logdet = 0.0 if float(jnp.sum(x)) > 1e30 else LOG8
        return 2 * x, jnp.full(len(x), logdet, x.dtype)

    def wrong(x: Any) -> Any:
        z, logdet = forward(x)
        return z, logdet / 3

    report = emcheck.check_layer(adapt(forward=forward, inverse=lambda z: z / 2), (3,), examples=2)
    assert report.ok, str(report)
    assert "forward is called step by step, as JAX cannot compile it" in report.scope
    assert "Jacobians by differences" in report.scope
    report = emcheck.check_layer(adapt(forward=wrong, inverse=lambda z: z / 2), (3,), examples=2)
    assert failed(report) == {"logdet_matches_jacobian"}, str(report)


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda x: (jnp.exp(x), x.sum(1), 3), "forward: expected (z, logdet), got tuple of 3"),
        (lambda x: ((jnp.exp(x), x), x.sum(1)), "forward: expected an array z, got tuple"),
        (jnp.exp, "forward: expected (z, logdet), got z alone"),
    ],
)
def test_wrong_answers_are_named_in_one_line(forward: Callable[..., Any], message: str) -> None:
    report = emcheck.check_layer(adapt(forward=forward, inverse=jnp.log), (3,), examples=1)
    assert not report.ok
    assert message in str(report)


def test_what_is_no_bijection_is_refused() -> None:
    conditional = fb.AdditiveCondition(lambda c: c, (3,), (3,))
    with pytest.raises(ValueError, match=r"^expected an unconditional bijection, got flowjax"):
        adapt(conditional)


class ConditionalShift(fb.AbstractBijection):
    """``z = x exp(s) + tanh(c)``; each fault is one attribute."""

    log_scale: jax.Array = eqx.field(default_factory=lambda: jnp.array([0.2, -0.3, 0.1]))
    wrong: str = ""
    shape = (3,)
    cond_shape = (2,)

    def _shift(self, condition: Any) -> Any:
        return jnp.tanh(jnp.concatenate([condition, condition.sum(keepdims=True)]))

    def transform_and_log_det(self, x: Any, condition: Any = None) -> Any:
        logdet = self.log_scale.sum() * (2 if self.wrong == "factor" else 1)
        return x * jnp.exp(self.log_scale) + self._shift(condition), logdet

    def inverse_and_log_det(self, y: Any, condition: Any = None) -> Any:
        shift = self._shift(0 * condition if self.wrong == "inverse" else condition)
        return (y - shift) * jnp.exp(-self.log_scale), -self.log_scale.sum()


def test_bijections_with_a_condition_take_a_context() -> None:
    report = emcheck.check_layer(ConditionalShift(), (3,), context=(2,), examples=2)
    assert report.ok, str(report)
    for wrong, check in {
        "factor": "logdet_matches_jacobian",
        "inverse": "inverse_undoes_forward",
    }.items():
        layer = ConditionalShift(wrong=wrong)
        assert check in failed(emcheck.check_layer(layer, (3,), context=(2,), examples=2))
    with pytest.raises(ValueError, match=r"takes one of 2 numbers, got one of 3 numbers$"):
        emcheck.check_layer(ConditionalShift(), (3,), context=(3,))


def test_a_function_that_makes_a_bijection_compiles_once() -> None:
    made: list[Any] = []

    def make() -> Any:
        made.append(_autoregressive())
        return made[-1]

    assert emcheck.check_layer(make, (3,), examples=1).ok
    assert len(made) == 1


@needs_distrax
def test_what_is_no_bijector_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^expected a bijector of distrax, got distrax\.Normal$"):
        adapt(distrax.Normal(0.0, 1.0))


def test_importing_emcheck_loads_no_jax() -> None:
    code = "import sys, emcheck; emcheck.check_layer; emcheck.adapt; print('jax' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
