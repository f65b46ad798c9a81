"""Chains of masked convolutions backward: compiled code against one solve after the other."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from torch import Tensor

from emcheck.solve import Link, convolve_masked, invert_masked
from emcheck.solve import choose as choosing
from emcheck.solve.forward import plan_of
from emcheck.solve.inverse import _link_by_link
from properties.test_forward import (
    PAIR,
    chain,
    chains,
    outputs_and_gradients,
    same_bits_whatever_the_threads,
)

#: Unit roundoffs, for each unit of the condition of the triangles, that outputs may be off.
ROUNDINGS = 100

RASTERS = (Link("raster", False, 2), Link("raster", True, 2))


def well_conditioned(inputs: list[Tensor]) -> list[Tensor]:
    """The same with weights near the identity, so that substitution amplifies little."""
    z, bias, *weights = inputs
    for weight in weights:
        C, k = weight.shape[0], weight.shape[-1]
        weight *= 0.3 / (C * k * k)
        weight[:, :, k // 2, k // 2] += torch.diag(torch.linspace(-1.5, 1.5, C + 1)[:-1] - 0.1).to(
            weight
        )
    return [z, bias, *weights]


@pytest.mark.skipif(not choosing.HAS_NUMBA, reason="compiled code needs Numba")
@given(chains())
def test_compiled_code_computes_what_one_solve_after_the_other_does(
    drawn: tuple[list[Tensor], tuple[Link, ...]],
) -> None:
    inputs, links = well_conditioned(drawn[0]), drawn[1]
    z, _, *weights = inputs
    assert plan_of(inputs, z, weights, links, len(links) + 1) is not None
    found = outputs_and_gradients(invert_masked, inputs, links)
    expected = outputs_and_gradients(_link_by_link, [tensor.double() for tensor in inputs], links)
    condition = max(float(1 / w.diagonal(0, 0, 1).abs().max(1).values.min()) for w in weights)
    for n, (got, wanted) in enumerate(zip(found, expected, strict=True)):
        scale = (float(wanted.abs().max()) + 1) * max(1.0, condition) ** len(links)
        error = float((got - wanted).abs().max())
        assert error <= ROUNDINGS * torch.finfo(got.dtype).eps * scale, (n, error, scale)


@pytest.mark.parametrize("links", [PAIR, RASTERS, PAIR[:1]])
@pytest.mark.parametrize("batch", [4, 16])
def test_it_undoes_the_chain_forward(links: tuple[Link, ...], batch: int) -> None:
    z, bias, *weights = well_conditioned(chain((batch, 5, 7, 6), links, 3, torch.float64))
    x, logabsdet = invert_masked(z, weights, links, bias)
    again, forward = convolve_masked(x, weights, links, bias)
    assert torch.allclose(again, z, rtol=0, atol=1e-10)
    assert torch.allclose(logabsdet, forward, rtol=1e-14)


@pytest.mark.parametrize("links", [PAIR, RASTERS[:1], PAIR[:1]])
def test_derivatives_of_any_order(links: tuple[Link, ...]) -> None:
    inputs = well_conditioned(chain((4, 2, 3, 4), links, 3, torch.float64))
    leaves = [tensor.requires_grad_() for tensor in inputs]

    def function(z: Tensor, bias: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        return invert_masked(z, weights, links, bias)

    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradgradcheck(function, leaves)


def test_threads_and_repetitions_change_no_bit() -> None:
    inputs = well_conditioned(chain((64, 12, 8, 8), PAIR, 3, torch.float32))
    assert same_bits_whatever_the_threads(invert_masked, inputs)


@pytest.mark.parametrize(
    ("shape", "why"),
    [
        ((0, 3, 4, 4), "no sample"),
        ((1, 3, 4, 4), "most lanes would be idle"),
        ((16, 12, 96, 96), "larger than the cache"),
    ],
)
def test_the_rest_is_solved_link_by_link(shape: tuple[int, ...], why: str) -> None:
    inputs = well_conditioned(chain(shape, PAIR, 3, torch.float32))
    z, bias, *weights = inputs
    assert plan_of(inputs, z, weights, PAIR, 1) is None, why
    x, logabsdet = invert_masked(z, weights, PAIR, bias)
    assert x.shape == shape
    assert logabsdet.shape == ()


@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("grad", [False, True])
def test_a_zero_on_the_diagonal_is_refused(batch: int, grad: bool) -> None:
    z, bias, *weights = chain((batch, 3, 4, 4), PAIR, 3, torch.float32)
    weights[1][2, 2, 1, 1] = 0
    weights[0].requires_grad_(grad)
    with pytest.raises(ValueError, match=r"diagonal of the centre tap, got 0 at index \[2\]"):
        invert_masked(z, weights, PAIR, bias)


def test_a_diagonal_whose_reciprocal_overflows_is_divided_by() -> None:
    z, _, weight = well_conditioned(chain((16, 3, 4, 4), PAIR[:1], 3, torch.float32))
    small = 2.0**-127
    x, _ = invert_masked(z * small, (weight * small,), PAIR[:1])
    expected, _ = invert_masked(z.double(), (weight.double(),), PAIR[:1])
    # The products with subnormal weights keep 22 bits.
    assert torch.allclose(x.double(), expected, rtol=1e-4, atol=1e-4)


def test_frozen_inputs_get_no_gradient_and_dead_taps_are_not_used() -> None:
    z, bias, *weights = well_conditioned(chain((16, 3, 4, 4), PAIR, 3, torch.float32))
    expected = invert_masked(z, weights, PAIR, bias)[0]
    weights[0][0, 2, 0, 0] = float("nan")  # reversed: the upper left quadrant is dead
    weights[1][0, 2, 1, 1] = float("nan")  # above the diagonal of the centre tap
    weights[0].requires_grad_()
    x, _ = invert_masked(z, weights, PAIR, bias)
    assert torch.equal(x, expected)
    x.sum().backward()
    assert z.grad is None
    assert weights[1].grad is None
    grad = weights[0].grad
    assert grad is not None
    assert torch.isfinite(grad).all()
