"""One complex system per frequency: the compiled LU against torch's, and against its residual."""

from __future__ import annotations

import warnings
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from emcheck.layers import PeriodicConv2d
from emcheck.solve import choose as choosing
from emcheck.solve import frequencies
from emcheck.solve.frequencies import slogdet_frequencies, solve_frequencies
from emcheck.solve.threads import python_team, run_team, torch_team

COMPLEX = {torch.float32: torch.complex64, torch.float64: torch.complex128}


def system(
    B: int, C: int, F: int, dtype: torch.dtype = torch.float32, seed: int = 0, size: float = 1.0
) -> tuple[Tensor, Tensor]:
    """A spectrum ``(C, C, F)`` of random matrices and right-hand sides ``(B, C, F)``."""
    generator = torch.Generator().manual_seed(seed)
    parts = torch.randn(C, C, F, 2, generator=generator, dtype=torch.float64) * size
    right = torch.randn(B, C, F, 2, generator=generator, dtype=torch.float64) * size
    kind = COMPLEX[dtype]
    return torch.view_as_complex(parts).to(kind), torch.view_as_complex(right).to(kind)


def residual(spectrum: Tensor, right: Tensor, x: Tensor) -> float:
    """Largest ``|A x - b| / (|A| |x| + |b|)`` in units of ``C eps``, row by row."""
    A, b, y = (t.to(torch.complex128) for t in (spectrum, right, x))
    rest = (torch.einsum("ijf,bjf->bif", A, y) - b).abs().amax(1)
    scale = (torch.einsum("ijf,bjf->bif", A.abs() + 0j, y.abs() + 0j).real + b.abs()).amax(1)
    eps = torch.finfo(spectrum.dtype).eps
    return float((rest / scale).max()) / (len(A) * eps)


@st.composite
def systems(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Sizes that leave every remainder of a vector of frequencies and of a block of samples."""
    return system(
        draw(st.integers(1, 9)),
        draw(st.integers(1, 14)),
        draw(st.integers(1, 150)),
        draw(st.sampled_from([torch.float32, torch.float64])),
        draw(st.integers(0, 2**16)),
        draw(st.sampled_from([1.0, 1e-30, 1e30])),
    )


def test_solution_and_logdet_are_those_of_the_definition() -> None:
    @given(systems())
    @settings(max_examples=2 * settings.default.max_examples)
    def examine(given: tuple[Tensor, Tensor]) -> None:
        spectrum, right = given
        x, logabsdet = solve_frequencies(spectrum, right)
        assert residual(spectrum, right, x) < 4
        assert torch.equal(logabsdet, slogdet_frequencies(spectrum))
        exact = torch.linalg.slogdet(spectrum.to(torch.complex128).permute(2, 0, 1)).logabsdet
        # Backward stable: the relative error of a determinant is cond times that of the matrix.
        condition = torch.linalg.cond(spectrum.to(torch.complex128).permute(2, 0, 1))
        eps = torch.finfo(spectrum.dtype).eps
        bound = 4 * len(spectrum) ** 2 * eps * condition + 4 * eps * exact.abs()
        assert bool(((logabsdet - exact).abs() <= bound).all())

    examine()


@pytest.mark.parametrize("channels", [100, 140])  # compiled, torch
def test_many_channels(channels: int) -> None:
    spectrum, right = system(3, channels, 20)
    with patch.object(frequencies, "_by_torch", wraps=frequencies._by_torch) as by_torch:
        x, _ = solve_frequencies(spectrum, right)
    assert by_torch.called == (channels > frequencies.LARGEST_IN_LANES)
    assert residual(spectrum, right, x) < 4


def test_extreme_scales_do_not_leave_the_range() -> None:
    for scale in (1e-40, 1e-36, 1e36):
        spectrum = torch.eye(3)[:, :, None] * torch.linspace(0.5, 1, 20) * (0.6 + 0.8j)
        spectrum[0, 1], spectrum[2, 0] = 0.5, -0.3j
        spectrum = (spectrum * scale).to(torch.complex64)
        right = (system(2, 3, 20)[1] * scale).to(torch.complex64)
        x, logabsdet = solve_frequencies(spectrum, right)
        assert bool(x.isfinite().all()), scale
        assert bool(logabsdet.isfinite().all()), scale


def test_nan_stays_in_its_frequency_and_sample() -> None:
    spectrum, right = system(5, 3, 40)
    clean, logabsdet = solve_frequencies(spectrum, right)
    right[2, 1, 7] = torch.nan
    spectrum[0, 0, 30] = torch.nan
    x, touched = solve_frequencies(spectrum, right)
    wrong = torch.zeros(5, 40, dtype=torch.bool)
    wrong[2, 7] = wrong[:, 30] = True
    assert torch.equal(x.isnan().any(1), wrong)
    assert torch.equal(x.movedim(1, 2)[~wrong], clean.movedim(1, 2)[~wrong])
    assert torch.equal(touched[:30], logabsdet[:30])


def test_a_zero_pivot_is_told() -> None:
    spectrum, right = system(2, 3, 20)
    spectrum[:, :, 11] = 0
    assert slogdet_frequencies(spectrum)[11] == -torch.inf
    with pytest.raises(ValueError, match="expected an invertible weight, got a singular one"):
        solve_frequencies(spectrum, right)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_threads_do_not_change_a_bit(dtype: torch.dtype) -> None:
    given = system(8, 12, 300, dtype)
    found = []
    for threads, team in ((1, run_team), (3, torch_team()), (3, python_team)):
        with (
            patch("torch.get_num_threads", return_value=threads),
            patch("emcheck.solve.frequency_lanes.run_team", wraps=team) as run,
        ):
            found.append(solve_frequencies(*given))
        assert run.call_args.args[2] == threads
    for other in found[1:]:
        assert torch.equal(found[0][0], other[0])
        assert torch.equal(found[0][1], other[1])


def test_any_memory_layout() -> None:
    spectrum, right = system(4, 3, 40)
    expected = solve_frequencies(spectrum, right)[0]
    turned = [t.transpose(1, 2).contiguous().transpose(1, 2) for t in (spectrum, right)]
    assert torch.equal(solve_frequencies(*turned)[0], expected)
    lazy = spectrum.conj(), right.conj()  # the conjugates are taken when somebody reads
    assert torch.equal(solve_frequencies(*lazy)[0], expected.conj())
    assert solve_frequencies(spectrum, right[:0])[0].shape == (0, 3, 40)


def test_gradients_take_the_way_through_torch() -> None:
    spectrum, right = (t.requires_grad_() for t in system(2, 2, 3, torch.float64))
    assert torch.autograd.gradcheck(lambda A, b: solve_frequencies(A, b), (spectrum, right))


def test_inference_mode_leaves_nothing_behind() -> None:
    """What is kept of the geometry serves a gradient afterwards."""
    layer = PeriodicConv2d(3, generator=torch.Generator().manual_seed(0))
    x = torch.ones(1, 3, 7, 11)
    with torch.inference_mode():
        layer(x)
    layer(x)[1].sum().backward()
    assert layer.weight.grad is not None


def test_without_numba_torch_answers_and_one_warning_says_so() -> None:
    spectrum, right = system(2, 3, 20)
    expected = solve_frequencies(spectrum, right)
    choosing._modules.clear()
    try:
        with patch.dict("sys.modules", {"emcheck.solve.frequency_lanes": None}):
            with pytest.warns(RuntimeWarning, match="use plain torch, which is slower"):
                found = solve_frequencies(spectrum, right)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                solve_frequencies(spectrum, right)
    finally:
        choosing._modules.clear()
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-3)
