"""The Triton kernel by itself, on a GPU or else in Triton's interpreter, and the trial before use.

What the interpreter cannot show: the memory model of a GPU, and what the compiler makes of the
kernel. On a GPU the same tests run the compiled kernel.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import subprocess
import sys
import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from emcheck.bounds import Measure
from emcheck.solve import choose as choosing
from emcheck.solve import live_taps, solve_masked, tiles
from emcheck.solve.masks import Mask
from properties.test_solve import Problem, problem, residual

if importlib.util.find_spec("triton") is None:
    pytest.skip("Triton is not installed: pip install '.[triton]'", allow_module_level=True)

from triton.runtime.interpreter import InterpretedFunction

from emcheck.solve import triton_rows

pytestmark = pytest.mark.system  # a gigabyte, which the extra `dev` brings

INTERPRETED = isinstance(triton_rows.solve_band, InterpretedFunction)
if not INTERPRETED and not torch.cuda.is_available():
    pytest.skip("no GPU, and Triton does not interpret (TRITON_INTERPRET=1)", True)
DEVICE = torch.device("cpu") if INTERPRETED else torch.device("cuda", 0)

#: A variant that the interpreter tries in a second: 4 rows, 2 channels.
SMALL = (1, 2, 4, 3)


def solve(given: Problem, most_rows: int = 128) -> Tensor:
    """What the kernel makes of a problem on the CPU, in bands of at most so many rows."""
    weight, z, *rest = given
    return triton_rows.substitute(weight.to(DEVICE), z.to(DEVICE), *rest, most_rows).cpu()


def measured(given: Problem, most_rows: int = 128) -> Measure:
    return residual(given, solve(given, most_rows))


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing has been tried, loaded or said, before and after."""
    monkeypatch.setattr(choosing, "_modules", {})
    caches = (choosing.passes_trial, choosing._tell)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Small images; with bands of 1, 2 or 4 rows they leave every remainder."""
    shape = tuple(draw(st.integers(1, most)) for most in (2, 5, 7, 6))
    return problem(
        shape,
        kernel_size=draw(st.sampled_from([1, 3, 3, 5])),
        mask=draw(st.sampled_from(["square", "raster"])),
        reverse=draw(st.booleans()),
        dilation=draw(st.sampled_from([1, 2])),
        dtype=draw(st.sampled_from([torch.float32, torch.float64])),
        seed=draw(st.integers(0, 2**16)),
        size=draw(st.sampled_from([1.0, 1e-30, 1e30])),
    )


@given(problems(), st.sampled_from([1, 2, 4, 128]))
@settings(max_examples=2 * settings.default.max_examples if INTERPRETED else 200)
def test_backward_error_obeys_rule_t2(given: Problem, most_rows: int) -> None:
    x = solve(given, most_rows)
    assert x.shape == given[1].shape
    assert x.dtype == given[1].dtype
    assert residual(given, x).ok


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("mask", "reverse"), [("square", True), ("raster", False)])
def test_bands_and_blocks_of_channels(mask: Mask, reverse: bool, dtype: torch.dtype) -> None:
    rows = problem((2, 2, 5, 4), mask=mask, reverse=reverse, dtype=dtype, dilation=2)
    assert measured(rows, most_rows=2).ok
    channels = problem((1, 19, 2, 3), mask=mask, reverse=reverse, dtype=dtype)
    assert measured(channels).ok


@pytest.mark.parametrize("k", [5, 7])
@pytest.mark.parametrize("W", [2, 5])
def test_raster_masks_that_look_far_to_the_right(k: int, W: int) -> None:
    """The slope is smaller where the image is too narrow for the rightmost taps."""
    assert measured(problem((1, 2, 3, W), kernel_size=k, mask="raster")).ok


@pytest.mark.skipif(INTERPRETED, reason="images of usual size are for a GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("mask", ["square", "raster"])
@pytest.mark.parametrize("shape", [(40, 12, 16, 16), (3, 48, 33, 20), (2, 3, 300, 70)])
def test_usual_sizes_on_a_gpu(
    shape: tuple[int, int, int, int], mask: Mask, dtype: torch.dtype
) -> None:
    assert measured(problem(shape, mask=mask, dtype=dtype)).ok


def test_nan_stays_in_its_sample() -> None:
    weight, z, *rest = problem((2, 3, 3, 3))
    clean = solve((weight, z, *rest))
    z[1, 2, 0, 0] = math.nan
    x = solve((weight, z, *rest))
    assert torch.equal(x[0], clean[0])
    assert bool(x[1].isnan().any())
    assert not bool(x[1, :2, 0, 0].isnan().any())  # what comes before is untouched


@pytest.mark.parametrize("scale", [1e-36, 1e36])
def test_extreme_scales_do_not_leave_the_range(scale: float) -> None:
    weight, z, *rest = problem((1, 3, 3, 3), size=scale)
    given = (weight, z * scale, *rest)
    assert bool(solve(given).isfinite().all())
    assert measured(given).ok


def test_any_memory_layout_and_an_empty_batch() -> None:
    weight, z, *rest = problem((2, 3, 3, 4))
    expected = solve((weight, z, *rest))
    turned = z.transpose(2, 3).contiguous().transpose(2, 3)
    for laid in (z.to(memory_format=torch.channels_last), turned):
        assert torch.equal(solve((weight, laid, *rest)), expected)
    assert solve((weight, z[:0], *rest)).shape == (0, 3, 3, 4)


@pytest.mark.parametrize(("mask", "reverse"), [("square", False), ("raster", True)])
def test_gradients_are_those_of_the_wavefront(mask: Mask, reverse: bool) -> None:
    """Two derivatives, all by the adjoint system."""
    weight, z, *_ = problem((2, 2, 4, 3), mask=mask, reverse=reverse, dtype=torch.float64)
    live, generator = live_taps(2, 3, mask, reverse), torch.Generator().manual_seed(1)
    above = torch.randn(z.shape, generator=generator, dtype=z.dtype).to(DEVICE)

    def gradients(solver: choosing.Solver) -> list[Tensor]:
        inputs = [t.clone().to(DEVICE).requires_grad_() for t in (weight, z)]
        masked = inputs[0] * live.to(DEVICE)
        with patch("emcheck.solve.implicit.choose", return_value=solver):
            x = solve_masked(masked, inputs[1], mask=mask, reverse=reverse, dilation=1)
            first = torch.autograd.grad((x * above).sum(), inputs, create_graph=True)
            second = torch.autograd.grad(first[0].square().sum(), inputs)
        return [x.detach(), *(g.detach() for g in first), *second]

    by_rows = gradients(functools.partial(triton_rows.substitute, most_rows=2))
    for got, expected in zip(by_rows, gradients(tiles.substitute), strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.usefixtures("untried")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_kernel_passes_its_trial_and_is_chosen(dtype: torch.dtype) -> None:
    z = torch.ones(SMALL, dtype=dtype, device=DEVICE)
    assert choosing.choose_on_gpu(z) is triton_rows.substitute
    with patch.object(choosing, "try_solver", side_effect=AssertionError("tried twice")):
        assert choosing.choose_on_gpu(z) is triton_rows.substitute
    assert choosing.choose_on_gpu(z[:0]) is tiles.substitute


def _blind(*arguments: Any) -> Any:
    """The geometry of a problem without its first tap."""
    taps, reach, slope = _GEOMETRY(*arguments)
    return taps[1:], reach[1:], slope


def _refuse(*_: Any) -> Any:
    raise RuntimeError("no PTX for this device\nand more")


_GEOMETRY = triton_rows._geometry


@pytest.mark.usefixtures("untried")
@pytest.mark.parametrize(
    ("fault", "said"), [(_blind, "times the bound of rule T2"), (_refuse, "device\\)$")]
)
def test_a_wrong_kernel_is_not_chosen_and_one_warning_says_so(fault: Any, said: str) -> None:
    z = torch.ones(SMALL, device=DEVICE)
    with patch.object(triton_rows, "_geometry", fault):
        with pytest.warns(RuntimeWarning, match=said) as record:
            assert choosing.choose_on_gpu(z) is tiles.substitute
        assert len(record) == 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert choosing.choose_on_gpu(z) is tiles.substitute


@pytest.mark.usefixtures("untried")
def test_without_triton_the_wavefront_works_and_one_warning_says_so() -> None:
    z = torch.ones(SMALL, device=DEVICE)
    with patch.dict("sys.modules", {"emcheck.solve.triton_rows": None}):
        with pytest.warns(RuntimeWarning, match="use plain torch, which is slower"):
            assert choosing.choose_on_gpu(z) is tiles.substitute
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert choosing.choose_on_gpu(z) is tiles.substitute


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_only_a_latent_on_cuda_meets_the_kernel(dtype: torch.dtype) -> None:
    latent: Any = SimpleNamespace(device=SimpleNamespace(type="cuda"), dtype=dtype)
    with patch.object(choosing, "choose_on_gpu") as chosen:
        solver = choosing.choose(latent)
    assert chosen.called == (dtype != torch.float16 and torch.version.hip is None)
    assert chosen.called or solver is tiles.substitute


def test_every_variant_is_tried_with_what_it_was_compiled_for() -> None:
    for C in range(1, 40):
        for H in (*range(1, 40), 100, 1000):
            variant = triton_rows.variant(C, H)
            _, channels, rows, _ = triton_rows.trial_shape(*variant)
            assert triton_rows.variant(channels, rows) == variant


def test_importing_the_solvers_does_not_import_triton() -> None:
    code = "import sys, emcheck.solve as s; sys.exit('emcheck.solve.triton_rows' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
