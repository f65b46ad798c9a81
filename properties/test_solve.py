"""Every solver by itself: rule T2 at threshold 1, at sizes that cross tiles and vectors."""

from __future__ import annotations

import math
import warnings
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from emcheck.bounds import Arithmetic, Measure
from emcheck.layers import AutoregressiveConv2d
from emcheck.layers._tools import triangular_solve
from emcheck.oracle import Componentwise, ConvFactor, DiagonalLogdet, as_extended
from emcheck.solve import SOLVERS, Mask, live_taps, solve_masked
from emcheck.solve import choose as choosing
from emcheck.solve.threads import python_team, run_team, torch_team

Problem = tuple[Tensor, Tensor, Mask, bool, int]


def problem(
    shape: tuple[int, int, int, int],
    kernel_size: int = 3,
    mask: Mask = "square",
    reverse: bool = False,
    dilation: int = 1,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    size: float = 1.0,
) -> Problem:
    """A masked weight with a diagonal of both signs near 1, and a latent ``(B, C, H, W)``."""
    generator = torch.Generator().manual_seed(seed)
    C, k, r = shape[1], kernel_size, kernel_size // 2
    live = live_taps(C, k, mask, reverse)
    weight = torch.randn(C, C, k, k, generator=generator, dtype=torch.float64)
    weight *= 0.5 / math.sqrt(C * int(live[0, 0].sum()) + 1)
    sign = torch.where(torch.rand(C, generator=generator) < 0.5, -1.0, 1.0).double()
    index = torch.arange(C)
    weight[index, index, r, r] = sign * (0.7 + 0.6 * torch.rand(C, generator=generator).double())
    z = torch.randn(shape, generator=generator, dtype=torch.float64)
    return (size * weight * live).to(dtype), z.to(dtype), mask, reverse, dilation


def residual(given: Problem, x: Tensor) -> Measure:
    """The componentwise backward error of ``x`` as the solution, over the bound of rule T2."""
    weight, z, _, _, dilation = given
    _, C, H, W = z.shape
    rule = DiagonalLogdet(np.zeros(C), H * W)
    definition = Componentwise([ConvFactor(as_extended(weight), dilation)], rule, (C, H, W))
    arithmetic = Arithmetic.of(z.dtype)
    return definition.backward_error(as_extended(z), as_extended(x), arithmetic)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Sizes that leave every remainder of a vector, a block and a tile."""
    B = draw(st.sampled_from([1, 2, 3, 5, 16, 17, 33]))
    most = 40 if B < 4 else 9
    shape = (B, draw(st.integers(1, 14)), draw(st.integers(1, most)), draw(st.integers(1, most)))
    return problem(
        shape,
        kernel_size=draw(st.sampled_from([1, 3, 5, 7])),
        mask=draw(st.sampled_from(["square", "raster"])),
        reverse=draw(st.booleans()),
        dilation=draw(st.sampled_from([1, 2, 3])),
        dtype=draw(st.sampled_from([torch.float32, torch.float64])),
        seed=draw(st.integers(0, 2**16)),
        size=draw(st.sampled_from([1.0, 1e-30, 1e30])),
    )


@pytest.mark.parametrize("name", SOLVERS)
def test_backward_error_obeys_rule_t2(name: str) -> None:
    @given(problems())
    @settings(max_examples=2 * settings.default.max_examples)
    def examine(given: Problem) -> None:
        x = SOLVERS[name](*given)
        assert x.shape == given[1].shape
        assert x.dtype == given[1].dtype
        measured = residual(given, x)
        assert measured.ok, f"{name}: {measured}"

    examine()


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("batch", [2, 20])
def test_nan_stays_in_its_sample(name: str, batch: int) -> None:
    weight, z, *rest = problem((batch, 3, 6, 5))
    clean = SOLVERS[name](weight, z, *rest)
    z[1, 2, 0, 0] = math.nan
    x = SOLVERS[name](weight, z, *rest)
    others = [n for n in range(batch) if n != 1]
    assert torch.equal(x[others], clean[others])
    assert bool(x[1].isnan().any())
    assert not bool(x[1, :2, 0, 0].isnan().any())  # what comes before is untouched


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("scale", [1e-36, 1e36])
@pytest.mark.parametrize("batch", [1, 16])
def test_extreme_scales_do_not_leave_the_range(name: str, scale: float, batch: int) -> None:
    """Weights and latent at the edge of float32, a solution of ordinary size."""
    weight, z, *rest = problem((batch, 4, 5, 6), size=scale)
    given = (weight, z * scale, *rest)
    x = SOLVERS[name](*given)
    assert bool(x.isfinite().all())
    assert residual(given, x).ok


@pytest.mark.parametrize("name", SOLVERS)
def test_a_changed_weight_changes_the_next_inverse(name: str) -> None:
    weight, z, *rest = problem((2, 3, 4, 4))
    before = SOLVERS[name](weight, z, *rest)
    weight.mul_(2)
    assert torch.equal(SOLVERS[name](weight, z, *rest), before / 2)


@pytest.mark.parametrize("name", SOLVERS)
def test_any_memory_layout(name: str) -> None:
    weight, z, *rest = problem((3, 4, 5, 6))
    expected = SOLVERS[name](weight, z, *rest)
    turned = z.transpose(2, 3).contiguous().transpose(2, 3)
    for laid in (z.to(memory_format=torch.channels_last), turned):
        assert torch.equal(SOLVERS[name](weight, laid, *rest), expected)
    assert SOLVERS[name](weight, z[:0], *rest).shape == (0, 4, 5, 6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("lanes", ["samples", "rows"])
@pytest.mark.parametrize("mask", ["square", "raster"])
def test_threads_do_not_change_a_bit(lanes: str, mask: Mask, dtype: torch.dtype) -> None:
    """Samples in groups; bands of rows of a few samples, each following the one above it."""
    shape = (80, 4, 16, 16) if lanes == "samples" else (2, 4, 100, 80)
    given = problem(shape, mask=mask, dtype=dtype, reverse=mask == "raster")
    found = []
    for threads, team in ((1, run_team), (3, torch_team()), (3, python_team)):
        with (
            patch("torch.get_num_threads", return_value=threads),
            patch("emcheck.solve.lanes.samples_are_cheaper", return_value=lanes == "samples"),
            patch("emcheck.solve.lanes.run_team", wraps=team) as run,
        ):
            found.append(SOLVERS["lanes"](*given))
        assert run.call_args.args[2] == threads
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    other = "emcheck.solve.lanes.samples_are_cheaper"
    with patch(other, return_value=lanes != "samples"):
        assert torch.equal(found[0], SOLVERS["lanes"](*given))


@pytest.mark.parametrize(("reverse", "mask"), [(False, "square"), (True, "raster")])
def test_gradients_of_the_solution(reverse: bool, mask: Mask) -> None:
    weight, z, _, _, _ = problem((2, 2, 3, 4), mask=mask, reverse=reverse, dtype=torch.float64)
    live = live_taps(2, 3, mask, reverse)

    def solve(weight: Tensor, z: Tensor) -> Tensor:
        return solve_masked(weight * live, z, mask=mask, reverse=reverse, dilation=1)

    inputs = (weight.requires_grad_(), z.requires_grad_())
    assert torch.autograd.gradcheck(solve, inputs, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(solve, inputs)


def test_without_numba_the_inverse_is_plain_torch_and_says_so_once() -> None:
    layer = AutoregressiveConv2d(2, generator=torch.Generator().manual_seed(0))
    z = torch.ones(1, 2, 4, 4)
    expected = layer.inverse(z)[0]
    choosing._modules.clear()
    try:
        with patch.dict("sys.modules", {"emcheck.solve.lanes": None}):
            with pytest.warns(RuntimeWarning, match="use plain torch, which is slower"):
                assert torch.allclose(layer.inverse(z)[0], expected, atol=1e-6)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                layer.inverse(z)
    finally:
        choosing._modules.clear()


def test_mixed_dtypes_are_refused() -> None:
    weight = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    with pytest.raises(ValueError, match="expected z in the weight's"):
        solve_masked(weight, torch.ones(1, 1, 2, 2), mask="square", reverse=False, dilation=1)


@pytest.mark.parametrize("columns", [1, 3, 7, 8])
def test_a_triangular_solve_by_columns_is_the_whole(columns: int) -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.eye(4, dtype=torch.float64) + torch.randn(
        4, 4, generator=generator, dtype=torch.float64
    ).tril(-1)
    right = torch.randn(4, 8, generator=generator, dtype=torch.float64)
    found = triangular_solve(matrix, right, upper=False, columns=columns)
    assert torch.allclose(matrix @ found, right, rtol=1e-12, atol=1e-12)
    assert found.shape == right.shape
