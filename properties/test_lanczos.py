"""Random probes and power iteration against what dense matrices say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from emcheck import bounds
from emcheck.oracle import condition_number, probe_jacobian, singular_extremes
from emcheck.oracle.precision import extended_slogdet, multiprecision_slogdet


def _matrix(n: int, seed: int, spread: float) -> Tensor:
    """``(n, n)`` with singular values from ``exp(-spread)`` to ``exp(spread)``."""
    generator = torch.Generator().manual_seed(seed)
    noise = [torch.randn(n, n, generator=generator, dtype=torch.float64) for _ in range(2)]
    left, right = (torch.linalg.qr(part).Q for part in noise)
    return left * torch.linspace(-spread, spread, n, dtype=torch.float64).exp() @ right


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("spread", [0.0, 0.5, 1.5])
def test_probes_find_the_logdet_within_their_bound(seed: int, spread: float) -> None:
    n = 200
    A = _matrix(n, seed, spread) * 1.25
    x = torch.zeros(n, dtype=torch.float64)
    found = probe_jacobian(lambda x: x @ A.T, x, torch.Generator().manual_seed(seed))
    expected = np.linalg.slogdet(A.numpy())[1]
    largest, smallest = singular_extremes(A.numpy())
    bound = bounds.probed_logdet(
        found.deviation, found.truncation, n, float(np.log(largest / smallest))
    )
    assert abs(found.logdet - expected) <= bound
    assert bound < 0.2 * n
    assert found.largest <= largest * (1 + 1e-9)
    assert found.largest >= 0.9 * largest
    assert bounds.RITZ_SHARE * found.smallest <= smallest <= found.smallest * (1 + 1e-9)


def test_probes_of_a_nonlinear_map_use_the_jacobian_at_the_point() -> None:
    x = torch.linspace(-1, 1, 60, dtype=torch.float64)
    found = probe_jacobian(torch.sinh, x, torch.Generator().manual_seed(0))
    expected = float(torch.cosh(x).log().sum())
    assert found.logdet == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("spread", [0.5, 3.0])
def test_power_iteration_is_close_to_the_svd(spread: float) -> None:
    A = _matrix(600, 0, spread).numpy()
    singular = np.linalg.svd(A, compute_uv=False)
    largest, smallest = singular_extremes(A)
    assert 0.9 * singular[0] <= largest <= singular[0] * (1 + 1e-9)
    assert singular[-1] * (1 - 1e-9) <= smallest <= 1.1 * singular[-1]


def test_matrices_without_a_condition_number() -> None:
    assert condition_number(np.full((3, 3), np.nan)) == np.inf
    assert condition_number(np.zeros((3, 3))) == np.inf
    assert condition_number(np.zeros((600, 600))) == np.inf
    assert condition_number(np.eye(3)) == 1.0


@pytest.mark.parametrize("spread", [1.0, 14.0])
def test_extended_elimination_agrees_with_multiprecision(spread: float) -> None:
    A = _matrix(24, 1, spread).numpy()
    expected = multiprecision_slogdet(A, np.exp(2 * spread))
    assert extended_slogdet(A) == pytest.approx(expected, abs=1e-6 if spread > 10 else 1e-14)
