"""The arithmetic of the bounds against numbers worked out by hand, NaN and infinity included."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
import torch

from emcheck import bounds
from emcheck.bounds import THRESHOLDS, Arithmetic, Measure

INF, NAN = math.inf, math.nan

#: A power of two for the rounding unit: products with it are exact.
UNIT = Arithmetic(u=2.0**-10, tiny=2.0**-100)


@pytest.mark.parametrize(
    ("dtype", "u", "tiny"),
    [(torch.float32, 2.0**-24, 2.0**-126), (torch.float64, 2.0**-53, 2.0**-1022)],
)
def test_the_unit_roundoff_is_half_the_spacing_at_one(
    dtype: torch.dtype, u: float, tiny: float
) -> None:
    assert Arithmetic.of(dtype) == Arithmetic(u, tiny)
    one = torch.ones((), dtype=dtype)
    assert bool(one + u == 1)
    assert bool(one + 2 * u > 1)


@pytest.fixture
def _tf32() -> Iterator[None]:
    """Puts the switches of TF32 back."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.usefixtures("_tf32")
@pytest.mark.parametrize("switch", ["matmul", "conv", "neither"])
def test_tf32_products_carry_eleven_bits(switch: str) -> None:
    torch.backends.cuda.matmul.allow_tf32 = switch == "matmul"
    torch.backends.cudnn.allow_tf32 = switch == "conv"
    wide = 2.0**-24 if switch == "neither" else 2.0**-11
    assert Arithmetic.of(torch.float32, "cuda:0").u == wide
    assert Arithmetic.of(torch.float32, "cpu").u == 2.0**-24
    assert Arithmetic.of(torch.float64, "cuda:0").u == 2.0**-53


@pytest.mark.parametrize("m", [1, 3, 100, 1023])
def test_gamma_is_the_quotient(m: int) -> None:
    exact = Fraction(m, 1024) / (1 - Fraction(m, 1024))
    assert UNIT.gamma(m) == pytest.approx(float(exact), rel=1e-15)


@pytest.mark.parametrize("m", [1024, 1025, 10**9])
def test_gamma_ends_where_it_stops_making_sense(m: int) -> None:
    assert UNIT.gamma(m) == INF


@pytest.mark.parametrize("rule", THRESHOLDS)
def test_a_measure_passes_at_its_threshold_and_not_above(rule: str) -> None:
    threshold = THRESHOLDS[rule]
    assert Measure(threshold, rule).threshold == threshold
    assert Measure(threshold, rule).ok
    for ratio in (np.nextafter(threshold, INF), 1e300, INF, NAN):
        assert not Measure(ratio, rule).ok


QUOTIENTS = [
    (0.0, 0.0, 0.0),
    (3.0, 2.0, 1.5),
    (-3.0, 2.0, 1.5),
    (3j, 2.0, 1.5),
    (1e-300, 0.0, INF),
    (1e300, 1e-300, INF),
    (NAN, 1.0, INF),
    (0.0, NAN, 0.0),
    (1.0, NAN, INF),
    (INF, INF, INF),
    (INF, 1.0, INF),
    (5.0, INF, 0.0),
    (1.0, -2.0, INF),
    (0.0, -2.0, 0.0),
    (1.0, -0.0, INF),
    (0.0, -0.0, 0.0),
]


@pytest.mark.parametrize(("error", "bound", "expected"), QUOTIENTS)
def test_quotients_at_zero_nan_and_infinity(error: float, bound: float, expected: float) -> None:
    assert bounds.ratio(error, bound) == expected
    assert bounds.ratio([error, 0.25], [bound, 1.0]) == max(expected, 0.25)
    assert bounds.ratio([0.25, error], [1.0, bound]) == max(expected, 0.25)


def test_the_largest_quotient_counts_and_no_entries_are_no_error() -> None:
    assert bounds.ratio([[1.0, -8.0], [3.0, 2.0]], [1.0, 4.0]) == 3.0
    assert bounds.ratio(np.zeros((0, 3)), 1.0) == 0.0


def test_a_comparison_carries_the_numbers_of_its_worst_entry() -> None:
    got, expected = np.array([[1.0, 5.0], [-2.0, 7.0]]), np.array([1.5, 4.0])
    measure = bounds.compare(got, expected, 0.5, "T7", 9.0, True, "told")
    assert measure == Measure(7.0, "T7", 9.0, True, "told", got=-2.0, expected=1.5, bound=0.5)
    assert bounds.compare(-3.0, 0.0, 2.0, "T1").ratio == 1.5
    empty = bounds.compare(np.zeros((0, 2)), 0.0, 1.0, "T2", 4.0, True, "none")
    assert (empty.ratio, empty.rule, empty.condition) == (0.0, "T2", 4.0)
    assert (empty.ill_conditioned, empty.detail) == (True, "none")
    assert math.isnan(empty.got)


@pytest.mark.parametrize(
    ("got", "expected", "difference"),
    [(3.0, 5.0, -2.0), (INF, INF, 0.0), (-INF, -INF, 0.0), (INF, -INF, INF), (-INF, 1.0, -INF)],
)
def test_equal_infinities_do_not_differ(got: float, expected: float, difference: float) -> None:
    assert bounds.difference(got, expected) == difference


def test_differences_keep_nan_and_the_wider_precision() -> None:
    assert np.isnan(bounds.difference(NAN, NAN))
    assert np.isnan(bounds.difference([1.0, NAN], 1.0)).tolist() == [False, True]
    tiny = np.longdouble(1) + np.finfo(np.longdouble).eps
    assert bounds.difference(tiny, np.float32(1)) == np.finfo(np.longdouble).eps


def test_norms_survive_squares_that_leave_the_range() -> None:
    x = np.array([[3.0, 4.0], [-3e200, 4e200], [-4e200, 0.0], [3e-200, -4e-200], [0.0, 0.0]])
    expected = [5.0, 5e200, 4e200, 5e-200, 0.0]
    np.testing.assert_allclose(bounds.norm2(x), expected, rtol=1e-15)
    np.testing.assert_allclose(bounds.norm2(x.reshape(5, 2, 1, 1)), expected, rtol=1e-15)
    assert bounds.norm2(np.zeros((2, 0))).tolist() == [0.0, 0.0]


def test_diagonal_logdet_by_hand() -> None:
    """C = 2, HW = 6, logs 1 and -3: (5) 6 (4) + 2 * 6 * 2 = 144 units."""
    assert bounds.diagonal_logdet(np.array([1.0, -3.0]), 6, UNIT) == 144 * UNIT.u
    for unbounded in ([1.0, NAN], [-INF, 1.0]):
        assert bounds.diagonal_logdet(np.array(unbounded), 6, UNIT) == INF


def test_dense_logdet_by_hand() -> None:
    """n kappa HW + 2 |ld| = 3 * 7 * 5 + 2 * 11 = 127 units."""
    assert bounds.dense_logdet(3, 7.0, 5, -11.0, UNIT) == 127 * UNIT.u
    assert bounds.dense_logdet(3, INF, 5, -11.0, UNIT) == INF


def test_fourier_logdet_by_hand() -> None:
    """S = 8, s = 1/2 and 4: 3 ((16 + log 2) + (2 + log 4)) units."""
    bound = bounds.fourier_logdet(np.array([[0.5], [4.0]]), 8.0, 3.0, UNIT)
    assert bound == pytest.approx(3 * (18 + 3 * math.log(2)) * UNIT.u, rel=1e-15)
    assert bounds.fourier_logdet(np.array([[0.0], [4.0]]), 8.0, 3.0, UNIT) == INF


def test_round_trip_of_a_jacobian_by_hand() -> None:
    """||J^-1|| (||J|| ||x|| + ||z||) = 4 (2 * 5 + 10) = 80, times sqrt 2 for two entries."""
    x, z = np.array([3.0, 4.0]), np.array([6.0, 8.0])
    bound = bounds.jacobian_round_trip(2.0, 0.25, x, z, UNIT)
    assert bound == pytest.approx(80 * math.sqrt(2) * UNIT.u, rel=1e-15)


def test_forward_error_of_a_jacobian_by_hand() -> None:
    """|J| |x| + |z| = (8, 1), at least its norm over sqrt 2; five times that."""
    J, x, z = np.array([[2.0, -1.0], [0.0, 0.0]]), np.array([[-2.0], [1.0]]), np.array([-3.0, 1.0])
    bound = bounds.jacobian_forward(J, x, z, UNIT)
    expected = [5 * 8 * UNIT.u, 5 * math.sqrt(65 / 2) * UNIT.u]
    np.testing.assert_allclose(bound, expected, rtol=1e-15)
    assert bounds.jacobian_forward(np.zeros((0, 0)), np.zeros(0), np.zeros(0), UNIT).size == 0


def test_largest_logdet_by_hand() -> None:
    """sum log(s + 10 n u s_max) for s = 4, 0: n u s_max = 8 units."""
    expected = math.log(4 + 80 * UNIT.u) + math.log(80 * UNIT.u)
    for singular in ([4.0, 0.0], [0.0, 4.0]):
        most = bounds.largest_logdet(np.array(singular), UNIT)
        assert most == pytest.approx(expected, rel=1e-15)
    assert bounds.largest_logdet(np.zeros(3), UNIT) == -INF


def test_logdet_of_probes_by_hand() -> None:
    """Six of 0.5, six of 0.25, and 1e-9 * 8 (1 + 3)."""
    for log_condition in (3.0, -3.0):
        bound = bounds.probed_logdet(0.5, 0.25, 8, log_condition)
        assert bound - 4.5 == pytest.approx(32e-9, rel=1e-6)


@pytest.mark.parametrize("weight", [UNIT.u, 1.0])
def test_first_order_ends_at_a_tenth(weight: float) -> None:
    edge = 0.1 / weight
    assert bounds.too_ill(edge, weight)
    assert not bounds.too_ill(float(np.nextafter(edge, 0)), weight)
    assert bounds.too_ill(INF, weight)
    assert bounds.too_ill(NAN, weight)


def test_numerical_singularity_by_hand() -> None:
    """n u s_max = 3 * 5 units."""
    edge = 15 * UNIT.u
    assert not bounds.numerically_singular(5.0, edge, 3, UNIT)
    assert bounds.numerically_singular(5.0, float(np.nextafter(edge, 0)), 3, UNIT)
    assert bounds.numerically_singular(5.0, NAN, 3, UNIT)
    assert bounds.numerically_singular(NAN, edge, 3, UNIT)
