"""Small products of Householder reflections: compiled code against the compact form."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from emcheck.layers import Conv1x1QR
from emcheck.layers.conv1x1_qr import SMALL
from emcheck.solve import reflections
from emcheck.specs.parameter_styles import move_parameters


def layer_of(channels: int, seed: int, dtype: torch.dtype, size: float = 1.0) -> Conv1x1QR:
    """A trained-like layer whose reflection vectors have lengths around ``size``."""
    generator = torch.Generator().manual_seed(seed)
    layer = Conv1x1QR(channels, generator=generator)
    move_parameters(layer, "trained", generator)
    layer.vectors.data *= size
    return layer.to(dtype)


@given(
    channels=st.integers(1, 20),
    seed=st.integers(0, 2**16),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    size=st.sampled_from([1.0, 1e-30, 1e30]),
)
def test_compiled_and_compact_form_agree(
    channels: int, seed: int, dtype: torch.dtype, size: float
) -> None:
    layer = layer_of(channels, seed, dtype, size)
    with torch.no_grad():
        compiled, compact = layer._matrix(), layer._reflect(layer._triangle())
    # Each form is backward stable: within n eps of Q times the columns of the triangle.
    bound = 20 * channels * torch.finfo(dtype).eps * compact.norm(dim=0).amax()
    assert bool(((compiled - compact).abs() <= bound).all())


@pytest.mark.parametrize(("channels", "called"), [(SMALL, True), (SMALL + 1, False)])
def test_which_form_is_taken(channels: int, called: bool) -> None:
    layer = layer_of(channels, 0, torch.float32)
    x = torch.ones(1, channels, 2, 2)
    with patch.object(reflections, "product", wraps=reflections.product) as product:
        with torch.no_grad():
            layer(x)
        assert product.called == called
        product.reset_mock()
        layer(x)[0].sum().backward()
        assert not product.called
    assert layer.vectors.grad is not None


def test_a_zero_vector_is_named_by_either_form() -> None:
    layer = layer_of(4, 0, torch.float32)
    layer.vectors.data[2] = 0
    for grad in (False, True):
        message = r"expected a nonzero Householder vector, got 0 at index \[2, 0\]"
        with torch.set_grad_enabled(grad), pytest.raises(ValueError, match=message):
            layer(torch.ones(1, 4, 2, 2))


def test_nan_is_not_hidden() -> None:
    layer = layer_of(4, 0, torch.float32)
    layer.vectors.data[2, 1] = torch.nan
    with torch.no_grad():
        assert bool(layer(torch.ones(1, 4, 2, 2))[0].isnan().any())
