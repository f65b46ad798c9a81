"""Exponentials and Cayley transforms of convolutions: definitions by other ways, and layers."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch

import emcheck
from emcheck.bounds import Arithmetic, compare
from emcheck.layers import ExponentialConv2d, OrthogonalConv2d
from emcheck.layers.exponential import LARGEST, enough_terms, norm_bound
from emcheck.oracle import (
    ConvFactor,
    ExponentialDefinition,
    OrthogonalDefinition,
    as_extended,
    slogdet,
)
from emcheck.oracle.precision import Array
from emcheck.result import Verdict
from emcheck.specs import SPECS
from emcheck.specs.parameter_styles import STYLES, move_parameters

U64 = 2.0**-53
EVENTS = ((2, 3, 4), (1, 1, 7), (3, 1, 1), (2, 5, 3))


def _weight(C: int, k: int, size: float, seed: int = 0) -> Array:
    """A weight whose convolution has a norm of at most ``size``."""
    weight = np.random.default_rng(seed).standard_normal((C, C, k, k))
    return as_extended(size * weight / np.abs(weight).sum(axis=(1, 2, 3)).max())


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize(("k", "size"), [(3, 0.7), (5, 4.0), (1, 12.0)])
def test_the_definition_is_the_exponential(event: tuple[int, ...], k: int, size: float) -> None:
    """By steps over shifted images, by squaring the dense matrix, and by mpmath."""
    weight = _weight(event[0], k, size)
    definition = ExponentialDefinition(weight, event)  # type: ignore[arg-type]
    M = ConvFactor(weight).matrix(event)  # type: ignore[arg-type]
    basis = as_extended(np.eye(len(M))).reshape(-1, *event)
    by_steps = definition.value(basis).reshape(len(M), -1).T
    with mpmath.workdps(40):
        exact = mpmath.expm(mpmath.matrix(M.tolist()), method="taylor")
    by_mpmath = np.array(exact.tolist(), dtype=np.float64)
    unit = U64 * math.exp(size)
    assert np.abs(by_steps - definition.matrix).max() <= unit
    assert np.abs(definition.matrix - by_mpmath).max() <= unit
    inverse = ExponentialDefinition(-weight, event).matrix  # type: ignore[arg-type]
    assert np.abs(inverse @ definition.matrix - np.eye(len(M))).max() <= unit * math.exp(size)
    assert abs(float(definition.logdet_rule.value) - float(np.trace(M))) <= unit * len(M)


@pytest.mark.parametrize("terms", [1, 2, 5])
def test_the_definition_of_a_cut_series_is_its_polynomial(terms: int) -> None:
    event = 2, 3, 4
    weight = _weight(2, 3, 1.5)
    definition = ExponentialDefinition(weight, event, terms)
    M = ConvFactor(weight).matrix(event)
    expected, power = np.eye(len(M)), np.eye(len(M))
    for i in range(1, terms + 1):
        power = power @ M / i
        expected = expected + power
    basis = as_extended(np.eye(len(M))).reshape(-1, *event)
    assert np.abs(definition.matrix - expected).max() <= U64 * math.exp(1.5)
    assert np.abs(definition.value(basis).reshape(len(M), -1).T - expected).max() <= U64 * 5


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize(("k", "size"), [(3, 0.7), (5, 20.0), (1, 300.0)])
def test_the_definition_is_the_cayley_transform(
    event: tuple[int, ...], k: int, size: float
) -> None:
    """By frequencies with residuals in space, and by the dense matrix in multi-precision."""
    weight = _weight(event[0], k, size)
    definition = OrthogonalDefinition(weight, event)  # type: ignore[arg-type]
    M = ConvFactor(weight, circular=True).matrix(event)  # type: ignore[arg-type]
    with mpmath.workdps(40):
        A = mpmath.matrix((M - M.T).tolist())
        one = mpmath.eye(len(M))
        exact = (one - A) * mpmath.inverse(one + A)
        off = mpmath.matrix(definition.matrix.tolist()) - exact
    assert max(abs(entry) for entry in off) <= U64 * (1 + size)
    square = definition.matrix @ definition.matrix.T
    assert np.abs(square - np.eye(len(M))).max() <= U64 * (1 + size)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("terms", [1, 4, 9, 40])
@pytest.mark.parametrize("style", STYLES[:3])
def test_a_cut_series_errs_by_its_remainder(terms: int, style: str, dtype: torch.dtype) -> None:
    """Both directions obey the definition, whose bounds know what the inverse leaves out.

    ``log|det T(M)| - trace(M) = log|det(I - exp(-M) R)|`` for the remainder ``R``.
    """
    event, generator = (2, 4, 3), torch.Generator().manual_seed(terms)
    layer = ExponentialConv2d(2, terms=terms, generator=generator).to(dtype)
    move_parameters(layer, style, generator)
    layer.requires_grad_(False)
    definition = SPECS[ExponentialConv2d].define(layer, event)
    x = torch.randn(3, *event, generator=generator).to(dtype)
    z, logdet = layer(x)
    xh, _ = layer.inverse(z)
    X, Z, XH = map(as_extended, (x, z, xh))
    arithmetic = Arithmetic.of(dtype)
    assert definition.forward_error(X, Z, arithmetic).ok
    assert definition.round_trip_error(X, XH, arithmetic).ok
    assert definition.backward_error(Z, XH, arithmetic).ok
    norm = norm_bound(layer.weight)
    remainder = norm ** (terms + 1) / math.factorial(terms + 1) * math.exp(2 * norm)
    if remainder < 0.5:
        n = math.prod(event)
        exact, _ = slogdet(np.asarray(definition.jacobian(X), dtype=np.float64))
        limit = -n * math.log1p(-remainder) + 10 * n * arithmetic.u * math.exp(2 * norm)
        assert abs(float(logdet[0]) - exact) <= limit


def test_a_wrong_inverse_of_a_cut_series_exceeds_its_remainder() -> None:
    layer = ExponentialConv2d(2, terms=9, generator=torch.Generator().manual_seed(0)).double()
    layer.requires_grad_(False)
    definition = SPECS[ExponentialConv2d].define(layer, (2, 4, 3))
    x = torch.randn(2, 2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    z = layer(x)[0]
    shorter = ExponentialConv2d(2, terms=8).double().requires_grad_(False)
    shorter.load_state_dict(layer.state_dict())
    X, Z, XH = map(as_extended, (x, z, shorter.inverse(z)[0]))
    for measure in (
        definition.round_trip_error(X, XH, Arithmetic.of(torch.float64)),
        definition.backward_error(Z, XH, Arithmetic.of(torch.float64)),
    ):
        assert not measure.ok


def test_a_cut_series_is_judged_by_what_it_declares() -> None:
    layer = ExponentialConv2d(2, terms=12, generator=torch.Generator().manual_seed(0))
    event, exact = (2, 3, 4), ("inverse_undoes_forward", "logdet_matches_jacobian")
    report = emcheck.check_layer(layer, event, tolerance=1e-7)
    assert report.ok, str(report)
    found = {result.check: result for result in report.results}
    assert {found[name].verdict for name in exact} == {Verdict.UNSUPPORTED}
    assert "it says so itself" in found["logdet_matches_jacobian"].detail
    assert found["inverse_meets_its_tolerance"].verdict is Verdict.PASS
    assert "terms=12" in found["forward_matches_definition"].case
    short = ExponentialConv2d(2, terms=2, generator=torch.Generator().manual_seed(0))
    report = emcheck.check_layer(short, event, tolerance=1e-7)
    assert "inverse_meets_its_tolerance" in {failure.check for failure in report.failures}


@pytest.mark.parametrize("norm", [0.0, 1e-30, 0.3, 1.0])
@pytest.mark.parametrize("u", [2.0**-24, U64])
def test_so_many_terms_are_enough_and_no_more(norm: float, u: float) -> None:
    def left(m: int) -> float:
        return norm**m / math.factorial(m) * math.exp(2 * norm)

    m = enough_terms(norm, u)
    assert left(m) <= u
    assert m == 1 or left(m - 1) > u


def test_a_rotation_of_many_turns_keeps_its_digits() -> None:
    """``M`` is skew with norm 200: one series would lose 173 digits."""
    layer = ExponentialConv2d(2, 1).double().requires_grad_(False)
    layer.weight[:, :, 0, 0] = torch.tensor([[0.0, -200.0], [200.0, 0.0]])
    x = torch.tensor([1.0, 0.0], dtype=torch.float64).reshape(1, 2, 1, 1)
    expected = [np.cos(np.longdouble(200)), np.sin(np.longdouble(200))]
    got = layer(x)[0].flatten().numpy()
    assert np.abs(got - np.array(expected)).max() <= 200 * 40 * U64
    assert float(layer(x)[1]) == 0


def test_refusals() -> None:
    layer = ExponentialConv2d(1, 1).requires_grad_(False)
    x = torch.ones(1, 1, 2, 2)
    for value in (2.0 * LARGEST, math.nan, math.inf):
        layer.weight.fill_(value)
        for direction in (layer, layer.inverse):
            with pytest.raises(ValueError, match="expected a weight of norm up to 1024, got"):
                direction(x)
    with pytest.raises(ValueError, match="expected terms to be a whole number >= 1, got 0"):
        ExponentialConv2d(1, terms=0)


@pytest.mark.parametrize("size", [1.0, 1e3, 1e6])
def test_an_orthogonal_convolution_stays_orthogonal(size: float) -> None:
    """However large its kernel is: an LU alone leaves a defect of ``u size``."""
    layer = OrthogonalConv2d(3, 3, generator=torch.Generator().manual_seed(0)).double()
    layer.requires_grad_(False).weight.mul_(size)
    basis = torch.eye(36, dtype=torch.float64).reshape(-1, 3, 3, 4)
    J = layer(basis)[0].reshape(36, -1)
    assert float((J @ J.T - torch.eye(36)).abs().max()) <= 10 * 36 * U64
    back = layer.inverse(basis)[0].reshape(36, -1)
    assert compare((back - J.T).numpy(), 0.0, 10 * 36 * U64, "AGREE").ok
