"""Woodbury transformations: small determinants and inverses against the large matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emcheck import bounds
from emcheck.bounds import Arithmetic, compare, ratio
from emcheck.layers import Woodbury2d
from emcheck.oracle import LowRankDefinition, as_extended, slogdet
from emcheck.oracle.precision import Array
from emcheck.specs import SPECS, spec_of
from emcheck.specs.parameter_styles import move_parameters

FORMS = ("joint", "separate")
DOUBLE = Arithmetic.of(torch.float64)


def made(seed: int, spatial: str, style: str = "mixed") -> tuple[Woodbury2d, LowRankDefinition]:
    """A layer at moved parameters, of random size and ranks, and its definition."""
    C, H, W, c, s = (int(n) for n in np.random.default_rng(seed).integers(1, 6, 5))
    layer = Woodbury2d(C, H, W, c, s, spatial).double()  # type: ignore[arg-type]
    move_parameters(layer, style, torch.Generator().manual_seed(seed))
    layer.requires_grad_(False)
    definition = spec_of(layer).define(layer, (C, H, W))  # type: ignore[union-attr]
    assert isinstance(definition, LowRankDefinition)
    return layer, definition


def dense(definition: LowRankDefinition) -> Array:
    """The matrix from the definition's ``apply`` on unit vectors."""
    n = int(np.prod(definition.event))
    return definition.apply(np.eye(n).reshape(n, *definition.event)).reshape(n, n).T


@pytest.mark.parametrize("spatial", FORMS)
@settings(max_examples=12)
@given(seed=st.integers(0, 2**32 - 1), style=st.sampled_from(["trained", "mixed", "ill"]))
def test_the_definition_two_ways(spatial: str, seed: int, style: str) -> None:
    """The Kronecker product is what ``apply`` does, and has the determinant of the small ones."""
    _, definition = made(seed, spatial, style)
    A, n = dense(definition), int(np.prod(definition.event))
    size = definition.absolute(np.eye(n).reshape(n, *definition.event)).reshape(n, n).T
    assert ratio(A - definition.matrix, DOUBLE.gamma(definition.terms) * size) <= 2.0**-8
    expected, condition = slogdet(A)
    room = bounds.dense_logdet(n, condition, 1, expected, DOUBLE)
    assert compare(definition.logdet(np.zeros((1, *definition.event))), expected, room, "T9").ok


@pytest.mark.parametrize("spatial", FORMS)
@settings(max_examples=12)
@given(seed=st.integers(0, 2**32 - 1), style=st.sampled_from(["trained", "mixed", "ill"]))
def test_the_inverse_is_that_of_the_dense_matrix(spatial: str, seed: int, style: str) -> None:
    """The definition's own inverse, factor by factor, against LU in NumPy."""
    _, definition = made(seed, spatial, style)
    z = np.random.default_rng(seed).standard_normal((2, *definition.event))
    x = as_extended(z)
    for part in reversed(definition.parts):
        x = part.inverse.apply(x)
    error, residual = definition._inverse_errors(as_extended(z), DOUBLE)
    assert ratio(definition.value(x) - z, residual) <= 2.0**-8  # extended against double
    A = np.asarray(dense(definition), np.float64)
    solved = np.linalg.solve(A, z.reshape(2, -1).T).T.reshape(z.shape)
    largest = np.abs(solved).max() * np.linalg.cond(A) * len(A) * DOUBLE.u
    assert ratio(solved - x, error + largest) <= 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_bounds_hold_and_are_not_vacuous(dtype: torch.dtype) -> None:
    """Over many layers, some with huge parameters, the worst ratio is near neither 1 nor 0."""
    arithmetic = Arithmetic.of(dtype)
    worst = {"backward": 0.0, "round trip": 0.0, "logdet": 0.0}
    for seed in range(60):
        layer, _ = made(seed, FORMS[seed % 2], ("trained", "mixed", "ill")[seed % 3])
        if seed % 5 == 0:
            for parameter in layer.parameters():
                parameter.data.mul_(10.0 ** (seed % 4))
        layer.to(dtype)
        event = layer.channels, layer.height, layer.width
        definition = spec_of(layer).define(layer, event)  # type: ignore[union-attr]
        x = torch.randn(2, *event, generator=torch.Generator().manual_seed(seed)).to(dtype)
        z, logdet = layer(x)
        X, Z = as_extended(x), as_extended(z)
        back, undone = (as_extended(layer.inverse(v)[0]) for v in (z, x))
        measures = {
            "backward": definition.backward_error(X, undone, arithmetic),
            "round trip": definition.round_trip_error(X, back, arithmetic),
            "logdet": definition.logdet_error(X, as_extended(logdet), arithmetic),
        }
        assert definition.forward_error(X, Z, arithmetic).ok
        for name, measure in measures.items():
            if not measure.ill_conditioned:
                assert measure.ok, (seed, name, measure)
                worst[name] = max(worst[name], measure.ratio)
    assert min(worst.values()) > 2.0**-8, worst


@pytest.mark.parametrize("spatial", FORMS)
def test_starts_as_the_identity_with_a_gradient(spatial: str) -> None:
    layer = Woodbury2d(3, 4, 5, 2, 2, spatial)  # type: ignore[arg-type]
    x = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    z, logdet = layer(x)
    assert torch.equal(z, x)
    assert not logdet.any()
    (z.pow(2).sum() - logdet.sum()).backward()
    assert all(bool(factor.u.grad.any()) for factor in layer.ordered())  # type: ignore[union-attr]


def test_ranks_are_cut_to_the_axis() -> None:
    layer = Woodbury2d(3, 2, 4, 8, 8, "separate")
    shapes = {factor.axis: tuple(factor.u.shape) for factor in layer.ordered()}
    assert shapes == {"channel": (3, 3), "rows": (2, 2), "columns": (4, 4)}
    joint = Woodbury2d(3, 2, 4).ordered()
    assert [tuple(factor.v.shape) for factor in joint] == [(3, 3), (8, 8)]


def test_refusals() -> None:
    with pytest.raises(ValueError, match="expected spatial to be one of"):
        Woodbury2d(2, 3, 4, spatial="both")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="height"):
        Woodbury2d(2, 0, 4)
    layer = Woodbury2d(2, 3, 4)
    for call in (layer, layer.inverse, layer.log_det):
        with pytest.raises(ValueError, match=r"expected \(B, 2, 3, 4\), got \(1, 2, 4, 3\)"):
            call(torch.ones(1, 2, 4, 3))
    for factor in layer.ordered():
        factor.u.data.zero_()
        factor.u.data[0, 0] = -1
        factor.v.data.zero_()
        factor.v.data[0, 0] = 1
        with pytest.raises(ValueError, match="expected an invertible weight, got a singular one"):
            layer.inverse(torch.ones(1, 2, 3, 4))
        assert layer.log_det(torch.ones(1, 2, 3, 4)).item() == -torch.inf
        factor.u.data.zero_()


def test_an_event_without_height_and_width_is_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match=r"expected the event \(C, H, W\).*got \(3, 4\)"):
        SPECS[Woodbury2d].new((3, 4), {}, torch.Generator())
