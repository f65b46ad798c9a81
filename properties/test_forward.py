"""Chains of masked convolutions: compiled code against torch's own convolutions in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from emcheck.solve import Link, convolve_masked
from emcheck.solve import choose as choosing
from emcheck.solve.forward import _by_conv2d, plan_of

#: Unit roundoffs that sums of at most a thousand products of unit size may be off.
ROUNDINGS = 100

PAIR = (Link("square", True, 1), Link("square", False, 1))


def chain(
    shape: tuple[int, ...], links: tuple[Link, ...], size: int, dtype: torch.dtype, seed: int = 0
) -> list[Tensor]:
    """``x``, the bias and a weight for each link; dead taps hold numbers too."""
    generator = torch.Generator().manual_seed(seed)
    C = shape[1]
    shapes = [shape, (C,), *[(C, C, size, size)] * len(links)]
    return [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype) for s in shapes]


@st.composite
def chains(draw: st.DrawFn) -> tuple[list[Tensor], tuple[Link, ...]]:
    """Whatever compiled code takes: full lanes and idle ones, images smaller than the kernel."""
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    mask, dilation = draw(st.sampled_from(["square", "raster"])), draw(st.integers(1, 2))
    turns = draw(st.lists(st.booleans(), min_size=1, max_size=3))
    links = tuple(Link(mask, reverse, dilation) for reverse in turns)
    batch = draw(st.sampled_from([8, 13, 16, 21]))
    shape = batch, draw(st.integers(1, 13)), draw(st.integers(1, 6)), draw(st.integers(1, 9))
    size, seed = draw(st.sampled_from([1, 3, 5])), draw(st.integers(0, 2**32 - 1))
    return chain(shape, links, size, dtype, seed), links


def outputs_and_gradients(function: object, inputs: list[Tensor], links: object) -> list[Tensor]:
    """Both outputs and the gradients of all inputs for one direction."""
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    x, bias, *weights = leaves
    z, logabsdet = function(x, weights, links, bias)  # type: ignore[operator]
    above = torch.linspace(-1, 1, z.numel(), dtype=z.dtype).reshape(z.shape)
    slope = torch.tensor(2.0, dtype=z.dtype)
    found = torch.autograd.grad([z, logabsdet], leaves, [above, slope])
    return [z.detach(), logabsdet.detach(), *found]


def agrees_with_conv2d(inputs: list[Tensor], links: tuple[Link, ...]) -> None:
    """Compiled code runs, and is off by roundings alone, in outputs and gradients."""
    x, _, *weights = inputs
    assert plan_of(inputs, x, weights, links, len(links) + 2) is not None
    found = outputs_and_gradients(convolve_masked, inputs, links)
    wide = [tensor.double() for tensor in inputs]
    expected = outputs_and_gradients(_by_conv2d, wide, links)
    sizes = outputs_and_gradients(_by_conv2d, [t.abs() for t in wide], links)
    for n, (got, wanted, size) in enumerate(zip(found, expected, sizes, strict=True)):
        scale = float(wanted.abs().max() + size.abs().max()) + 1
        error = float((got - wanted).abs().max())
        assert error <= ROUNDINGS * torch.finfo(got.dtype).eps * scale, (n, error, scale)


@pytest.mark.skipif(not choosing.HAS_NUMBA, reason="compiled code needs Numba")
@given(chains())
def test_compiled_code_computes_what_conv2d_does(
    drawn: tuple[list[Tensor], tuple[Link, ...]],
) -> None:
    agrees_with_conv2d(*drawn)


@pytest.mark.skipif(not choosing.HAS_NUMBA, reason="compiled code needs Numba")
def test_large_images_of_few_channels_are_those_of_conv2d() -> None:
    """Larger than the cache, where ``conv2d`` writes out all taps and takes ten times as long."""
    agrees_with_conv2d(chain((16, 2, 150, 129), PAIR, 3, torch.float32), PAIR)


@pytest.mark.parametrize("links", [PAIR, (Link("raster", False, 2),), PAIR[:1]])
def test_derivatives_of_any_order(links: tuple[Link, ...]) -> None:
    inputs = [t.requires_grad_() for t in chain((4, 2, 3, 4), links, 3, torch.float64)]

    def function(x: Tensor, bias: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        return convolve_masked(x, weights, links, bias)

    assert torch.autograd.gradcheck(function, inputs, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(function, inputs)


def test_one_weight_at_two_places_has_the_sum_of_both_gradients() -> None:
    x, _, w, _ = (t.requires_grad_() for t in chain((4, 2, 3, 4), PAIR, 3, torch.float64))
    assert torch.autograd.gradgradcheck(lambda x, w: convolve_masked(x, (w, w), PAIR), (x, w))


def same_bits_whatever_the_threads(function: object, inputs: list[Tensor]) -> bool:
    """Whether one and two threads, and a repetition, give the same outputs and gradients."""
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            found.append(outputs_and_gradients(function, inputs, PAIR))
    finally:
        torch.set_num_threads(before)
    return all(
        torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True)
    )


def test_threads_and_repetitions_change_no_bit() -> None:
    inputs = chain((64, 12, 8, 8), PAIR, 3, torch.float32)
    assert same_bits_whatever_the_threads(convolve_masked, inputs)


@pytest.mark.parametrize(
    ("shape", "links", "why"),
    [
        ((0, 3, 4, 4), PAIR, "no sample"),
        ((1, 3, 4, 4), PAIR, "most lanes would be idle"),
        ((16, 12, 96, 96), PAIR, "larger than the cache"),
        ((16, 3, 256, 256), PAIR, "larger than is worth it for few channels"),
        ((16, 3, 4, 4), (PAIR[0], Link("raster", False, 1)), "two kinds of taps"),
    ],
)
def test_the_rest_is_left_to_conv2d(
    shape: tuple[int, ...], links: tuple[Link, ...], why: str
) -> None:
    inputs = chain(shape, links, 3, torch.float32)
    x, bias, *weights = inputs
    assert plan_of(inputs, x, weights, links, len(links) + 2) is None, why
    z, logabsdet = convolve_masked(x, weights, links, bias)
    assert z.shape == shape
    assert logabsdet.shape == ()


def test_a_frozen_input_gets_no_gradient() -> None:
    x, bias, *weights = chain((16, 3, 4, 4), PAIR, 3, torch.float32)
    weights[0].requires_grad_()
    z, _ = convolve_masked(x, weights, PAIR, bias)
    z.sum().backward()
    assert x.grad is None
    assert weights[0].grad is not None
    assert weights[1].grad is None


def test_dead_taps_are_not_used() -> None:
    x, bias, *weights = chain((16, 3, 4, 4), PAIR, 3, torch.float32)
    expected = convolve_masked(x, weights, PAIR, bias)[0]
    weights[0][0, 2, 0, 0] = float("nan")  # reversed: the upper left quadrant is dead
    weights[1][0, 2, 1, 1] = float("nan")  # above the diagonal of the centre tap
    assert torch.equal(convolve_masked(x, weights, PAIR, bias)[0], expected)
