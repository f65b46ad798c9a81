"""The oracles against each other: two independent ways must agree before one is believed."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from emcheck.bounds import Arithmetic, Measure, ratio
from emcheck.checks import Subject
from emcheck.checks.trial import Trial
from emcheck.oracle import (
    SIGMOID,
    ConvFactor,
    CouplingDefinition,
    as_extended,
    explicit_jacobian,
    householder,
    masked,
    slogdet,
)
from emcheck.oracle.definition import Definition
from emcheck.oracle.logdets import FourierLogdet
from emcheck.oracle.matrices import frequency_matrices, squeeze_index
from emcheck.oracle.precision import (
    MULTIPRECISION_CONDITION,
    compensated_matmul,
    multiprecision_slogdet,
)
from emcheck.oracle.spectrum import condition_number
from emcheck.specs import REGISTRY
from properties.strategies import cases

EPS = np.finfo(np.float64).eps
CONVS = [
    (k, D, H, W, c) for k in (1, 3, 5) for D in (1, 2) for H, W in ((4, 5), (2, 3)) for c in (0, 1)
]


@pytest.mark.parametrize(("k", "dilation", "height", "width", "circular"), CONVS)
def test_matrix_by_index_equals_shifted_sums(
    k: int, dilation: int, height: int, width: int, circular: int
) -> None:
    rng = np.random.default_rng(k + dilation + height)
    factor = ConvFactor(rng.standard_normal((2, 3, k, k)), dilation, bool(circular))
    x = rng.standard_normal((2, 3, height, width))
    by_matrix = x.reshape(2, -1) @ factor.matrix((3, height, width)).T
    size = np.abs(x).reshape(2, -1) @ np.abs(factor.matrix((3, height, width))).T
    terms = 3 * k * k
    assert ratio(factor.apply(x).reshape(2, -1) - by_matrix, terms * EPS * size) <= 1


@pytest.mark.parametrize("name", REGISTRY)
@given(data=st.data())
def test_inverse_of_a_definition_is_that_of_its_jacobian(name: str, data: st.DataObject) -> None:
    """A definition that keeps its inverse keeps that of the map it applies."""
    trial = Trial(Subject.of_class(name, REGISTRY[name]), data.draw(cases(REGISTRY[name])))
    definition, x = trial.definition, as_extended(trial.x[:1])
    assert definition is not None
    by_columns = Definition.jacobian(definition, x)  # through the map, whatever it overrides
    inverse = definition.inverse_jacobian(x)
    condition = condition_number(by_columns.astype(float))
    assume(condition < 1 / EPS)
    off = inverse @ by_columns - np.eye(len(inverse))
    assert np.abs(off).max() <= 10 * EPS * len(inverse) * condition


def test_compensated_product_has_twice_the_digits() -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((4, 30)) * 10.0 ** rng.integers(-150, 150, (4, 30))
    b = np.concatenate([rng.standard_normal((29, 2)), np.zeros((1, 2))]) / 10.0**100
    with mpmath.workdps(700):
        exact = mpmath.matrix(a.tolist()) * mpmath.matrix(b.tolist())
        worst = max(
            abs(mpmath.mpf(float(value)) / exact[i, j] - 1)
            for (i, j), value in np.ndenumerate(compensated_matmul(a, b))
        )
    assert worst <= EPS


@pytest.mark.parametrize("exponent", [2, 8, 12, 15])
def test_slogdet_holds_at_any_condition(exponent: int) -> None:
    rng = np.random.default_rng(exponent)
    left, right = (np.linalg.qr(rng.standard_normal((12, 12)))[0] for _ in range(2))
    matrix = left * np.logspace(0, -exponent, 12) @ right
    got, condition = slogdet(matrix)
    assert condition > 10.0 ** (exponent - 1)
    # Rule T9 where LU in float64 is enough; to the last digits where mpmath took over.
    lost = condition if condition <= MULTIPRECISION_CONDITION else 1.0
    assert abs(got - multiprecision_slogdet(matrix)) <= 10 * EPS * (12 * lost + 2 * abs(got))


def test_slogdet_of_singular_and_broken_matrices() -> None:
    assert slogdet(np.zeros((2, 2))) == (-np.inf, np.inf)
    assert np.isnan(slogdet(np.full((2, 2), np.nan))[0])


def test_frequencies_are_the_eigenvalues_of_the_circulant_matrix() -> None:
    weight = np.random.default_rng(0).standard_normal((1, 1, 3, 3))
    matrix = ConvFactor(weight, circular=True).matrix((1, 4, 6))
    singular = np.sort(np.abs(frequency_matrices(weight, 4, 6).ravel()))
    assert np.allclose(np.sort(np.linalg.svd(matrix, compute_uv=False)), singular)
    rule = FourierLogdet(weight, 4, 6)
    assert abs(rule.value - slogdet(matrix)[0]) <= rule.bound(Arithmetic(EPS / 2, 0.0)) * 10


def test_reflections_are_orthogonal_at_any_length() -> None:
    Q = householder(np.random.default_rng(0).standard_normal((4, 4)) * 1e-200)
    assert ratio(Q @ Q.T - np.eye(4), 16 * EPS) <= 1


def test_masks_are_what_the_definition_says() -> None:
    live = masked(np.ones((2, 2, 3, 3)), "square", False)
    assert live[0, 0].tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert live[0, 1].tolist() == [[1, 1, 0], [1, 0, 0], [0, 0, 0]]
    raster = masked(np.ones((2, 2, 3, 3)), "raster", True)
    assert raster[0, 0].tolist() == [[0, 0, 0], [0, 1, 1], [1, 1, 1]]
    assert raster[1, 0].tolist() == [[0, 0, 0], [0, 0, 1], [1, 1, 1]]


def test_squeeze_index_moves_a_block_to_channels() -> None:
    assert squeeze_index((1, 2, 4), 2).tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def test_coupling_tangent_equals_autodiff() -> None:
    rng = np.random.default_rng(0)
    shapes = ((4, 1, 3, 3), (4, 4, 1, 1), (4, 4, 3, 3))
    layers = [(rng.standard_normal(s) * 0.4, rng.standard_normal(s[0])) for s in shapes]
    definition = CouplingDefinition(layers, (3, 3, 2), SIGMOID)
    x = rng.standard_normal((1, 3, 3, 2))

    def f(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        a = value[:, :1]
        for n, (w, b) in enumerate(layers):
            a = torch.relu(a) if n else a
            weight, bias = torch.from_numpy(w), torch.from_numpy(b)
            a = torch.nn.functional.conv2d(a, weight, bias, padding=w.shape[-1] // 2)
        t, h = a.chunk(2, dim=1)
        z2 = (value[:, 1:] + t) * torch.sigmoid(h + 2)
        return torch.cat([value[:, :1], z2], dim=1), h.sum()

    J = explicit_jacobian(f, torch.from_numpy(x[0]))
    D = np.asarray(definition.jacobian(x), dtype=np.float64)
    assert np.abs(J - D).max() <= 1000 * EPS * np.abs(D).max()


def test_ratio_conventions() -> None:
    assert ratio(np.zeros(2), np.zeros(2)) == 0
    assert ratio(np.ones(1), np.zeros(1)) == np.inf
    assert ratio(np.full(1, np.nan), np.ones(1)) == np.inf
    assert ratio(np.zeros(0), np.zeros(0)) == 0
    assert not Measure(float("nan"), "T1").ok
