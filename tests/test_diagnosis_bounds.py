"""Where an explanation stops to fit: each constant of the diagnosis on both sides of its edge."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn

from emcheck.checks import Case, Subject
from emcheck.checks.trial import Trial
from emcheck.diagnosis.causes.contract import batch_statistics
from emcheck.diagnosis.causes.initialization import common_stabiliser
from emcheck.diagnosis.causes.logdet_places import gate_offset
from emcheck.diagnosis.causes.tolerances import is_approximate
from emcheck.diagnosis.evidence.logdets import LogdetExample
from emcheck.kit.modes import coupled as rows_coupled

EPS32, EPS64 = 2.0**-23, 2.0**-52

EDGES = pytest.mark.parametrize(("share", "fits"), [(0.8, True), (1.2, False)])


def _example(got: Any, expected: Any, bound: float, jacobians: Any = None) -> LogdetExample:
    got, expected = np.atleast_1d(got).astype(float), np.atleast_1d(expected).astype(float)
    nothing = np.zeros((len(got), 1))
    J = np.ones((len(got), 1, 1)) if jacobians is None else jacobians
    ends = (nothing, nothing, np.full(len(got), np.nan))
    both = (*ends, ends[-1])
    return LogdetExample(Case((1, 1, 1)), got, expected, np.full(len(got), bound), *both, J)


@EDGES
def test_a_prediction_fits_within_two_bounds(share: float, fits: bool) -> None:
    for sign in (-1, 1):
        assert _example(0.5 + sign * share * 2 * 0.25, 0.75, 0.25).fits(np.array([0.5])) is fits


@EDGES
def test_a_larger_prediction_has_a_larger_bound(share: float, fits: bool) -> None:
    """Twelve times the expected -2, which is above 1: twelve bounds on both sides."""
    for sign in (-1, 1):
        example = _example(24.0 + sign * share * 2 * 12 * 0.25, -2.0, 0.25)
        assert example.fits(np.array([24.0])) is fits


def test_nan_fits_nothing_and_is_off() -> None:
    example = _example([math.nan, 1.0, 2.5], [1.0, 1.0, 2.0], 0.25)
    assert example.off.tolist() == [True, False, True]
    assert not example.fits(np.array([math.nan, 1.0, 2.5]))


@EDGES
def test_an_offset_of_gates_fits_within_four_bounds(share: float, fits: bool) -> None:
    """sigmoid(h + 2) with the log-det of sigmoid(h); the last of three samples is off."""
    h, bound = np.array([0.3, -0.8, 1.1]), 1e-6
    got = -np.log1p(np.exp(-h))
    got[2] += share * 4 * bound * (1 + 2)
    J = (1 / (1 + np.exp(-h - 2)))[:, None, None]
    example = _example(got, np.log(J[:, 0, 0]), bound, J)
    evidence: Any = SimpleNamespace(logdets=(example,), inverse_logdets=())
    assert bool(list(gate_offset(evidence))) is fits


@EDGES
def test_a_stabiliser_is_one_number_up_to_rounding(share: float, fits: bool) -> None:
    """The 64 eps (largest + 1) entries = 64 * 3 * 10 eps that a deviation may err by."""
    off = share * 64 * 3 * 10 * EPS64
    eps, spread = common_stabiliser([np.array([0.25, 0.25 + off]), np.array([0.25])], 2.0, 10)
    assert (eps == 0.25) is fits
    assert spread == pytest.approx(off, abs=EPS64)
    eps, _ = common_stabiliser([np.array([0.25, 0.25]), np.array([0.25 + off])], 2.0, 10)
    assert (eps == 0.25) is fits


@EDGES
def test_a_stabiliser_within_rounding_is_none(share: float, fits: bool) -> None:
    for sign in (-1, 1):
        off = sign * share * 64 * 3 * 10 * EPS64
        eps, _ = common_stabiliser([np.array([off, off])], 2.0, 10)
        assert (eps == 0.0) is fits


@EDGES
def test_an_inverse_is_approximate_up_to_a_sixteenth(share: float, fits: bool) -> None:
    assert is_approximate(share / 16, share / 16, 1.0) is fits


@EDGES
def test_rounding_is_no_approximation(share: float, fits: bool) -> None:
    """Two rounding errors of float64 at condition 1e6 are 2e6 eps."""
    assert is_approximate(2e6 * EPS64 / share, 2e6 * EPS64 / share, 1e6) is fits


@EDGES
def test_approximate_inverses_err_alike_in_both_precisions(share: float, fits: bool) -> None:
    """Neither is twice the other, rounding in float32 at condition 100 apart."""
    wide, rounding = 1e-3, 100 * EPS32
    assert is_approximate(wide, share * 2 * wide + rounding, 100.0) is fits
    assert is_approximate(wide, wide / (2 * share) - rounding, 100.0) is fits


class _Leaking(nn.Module):
    """Adds a share of the next sample to each."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x + self.share * x.roll(1, 0), x.new_zeros(len(x))

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.forward(z)


@pytest.mark.parametrize(("power", "coupled"), [(-18, True), (-22, False)])
def test_rows_are_coupled_from_a_millionth_on(power: int, coupled: bool) -> None:
    """2^-20 of the size: four times as much is a coupling, a quarter is rounding."""
    subject = Subject.of_layer(_Leaking(2.0**power))
    case = Case((2, 3, 3), batch=3)
    assert bool(rows_coupled(subject, case)) is coupled
    told = list(batch_statistics(_evidence(subject, case)))
    assert bool(told) is coupled
    assert all("depends on their order" in fit.evidence for fit in told)


def _evidence(subject: Subject, case: Case) -> Any:
    return SimpleNamespace(trial=lambda: Trial(subject, case))


def test_the_order_of_a_batch_counts_from_a_millionth_on() -> None:
    class _Mean(_Leaking):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            tilt = self.share * x[-1:]
            return x + x.mean(dim=0, keepdim=True) + tilt, x.new_zeros(len(x))

    case = Case((2, 3, 3), batch=3)
    for power, order in ((-17, True), (-23, False)):
        (fit,) = batch_statistics(_evidence(Subject.of_layer(_Mean(2.0**power)), case))
        assert ("order" in fit.evidence) is order
