"""Substitution pixel by pixel: compiled code against NumPy, and where it is taken."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from emcheck.layers import Conv1x1, Conv1x1PLU, Conv1x1QR
from emcheck.solve import pixels

LAYERS = (Conv1x1, Conv1x1PLU, Conv1x1QR)


def factors_of(channels: int, generator: torch.Generator, exponent: int) -> Tensor:
    """Both triangles of a system; the upper one has a diagonal around ``2^exponent``."""
    matrix = torch.randn(channels, channels, generator=generator, dtype=torch.float64) / 4
    diagonal = 1 + torch.rand(channels, generator=generator, dtype=torch.float64)
    matrix.diagonal().copy_(diagonal)
    return matrix.tril(-1) + matrix.triu() * 2.0**exponent


@given(
    channels=st.integers(1, 20),
    batch=st.integers(1, 5),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    exponent=st.sampled_from([0, 0, 110, -110]),
    seed=st.integers(0, 2**16),
)
def test_the_backward_error_is_that_of_substitution(
    channels: int, batch: int, height: int, width: int, dtype: torch.dtype, exponent: int, seed: int
) -> None:
    """``|L U x - y| <= gamma_3C |L| |U| |x|`` in every pixel (Higham, theorem 9.4)."""
    generator = torch.Generator().manual_seed(seed)
    factors = factors_of(channels, generator, exponent).to(dtype)
    order = torch.randperm(channels, generator=generator).tolist()
    z = torch.randn(batch, channels, height, width, generator=generator).to(dtype)
    x = pixels.solve(factors, order, z)
    wide = factors.numpy().astype(np.longdouble)
    L, U = np.tril(wide, -1) + np.eye(channels), np.triu(wide)
    columns = np.moveaxis(x.numpy(), 1, 0).reshape(channels, -1).astype(np.longdouble)
    right = np.moveaxis(z.numpy()[:, order], 1, 0).reshape(channels, -1)
    gamma = (3 * channels + 4) * torch.finfo(dtype).eps
    allowed = gamma * (np.abs(L) @ (np.abs(U) @ np.abs(columns)))
    assert (np.abs(L @ (U @ columns) - right) <= allowed + torch.finfo(dtype).tiny).all()


@pytest.mark.parametrize("layer", LAYERS)
def test_which_way_is_taken(layer: type[Conv1x1]) -> None:
    made, z = layer(5), torch.randn(3, 5, 2, 7)
    with patch.object(pixels, "solve", wraps=pixels.solve) as solve:
        with torch.no_grad():
            x, logdet = made.inverse(z)
        assert solve.called
        solve.reset_mock()
        other, same = made.inverse(z.requires_grad_(True))
        assert not solve.called
    assert torch.allclose(x, other, atol=1e-5)
    assert torch.allclose(logdet, same, atol=1e-4)
    assert torch.allclose(logdet, -made.log_det(z), atol=1e-4)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("shape", [(0, 3, 2, 2), (2, 3, 1, 1), (1, 3, 40, 41)])
def test_any_size(layer: type[Conv1x1], shape: tuple[int, ...]) -> None:
    made, x = layer(3).double(), torch.randn(shape, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(made.inverse(made(x)[0])[0], x, atol=1e-10)


@pytest.mark.parametrize("layer", LAYERS)
def test_samples_do_not_depend_on_their_batch(layer: type[Conv1x1]) -> None:
    """Tiles hold pixels of several samples, one of them NaN."""
    made, z = layer(4), torch.randn(6, 4, 3, 3)
    z[2] = torch.nan
    with torch.no_grad():
        together = made.inverse(z)[0]
        alone = torch.cat([made.inverse(z[n : n + 1])[0] for n in range(len(z))])
    assert torch.equal(together.isnan(), z.isnan())
    assert torch.equal(together.nan_to_num(), alone.nan_to_num())


def test_strided_input_is_read_as_it_is() -> None:
    made, z = Conv1x1(4), torch.randn(2, 5, 5, 4)
    with torch.no_grad():
        strided = made.inverse(z.permute(0, 3, 1, 2))[0]
        assert torch.equal(strided, made.inverse(z.permute(0, 3, 1, 2).contiguous())[0])


def test_a_singular_matrix_is_refused_without_gradients_too() -> None:
    made = Conv1x1(3)
    made.weight.data[1] = 0
    with torch.no_grad(), pytest.raises(ValueError, match="expected an invertible weight"):
        made.inverse(torch.ones(1, 3, 2, 2))


def test_threads_share_the_pixels_without_changing_a_bit() -> None:
    """More tiles than runs, and a last run that is cut short."""
    generator = torch.Generator().manual_seed(0)
    factors = factors_of(12, generator, 0).float()
    z = torch.randn(9, 12, 33, 35, generator=generator)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(pixels.solve(factors, range(12), z))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(found[0], x) for x in found)
