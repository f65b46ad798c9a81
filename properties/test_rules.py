"""Every rule by hand on the smallest layer: an error below its threshold passes, above it fails.

The bounds here are worked out from the printed rules for one or two entries and not taken from
the code, so that a threshold, a constant or a term that changes is noticed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from emcheck.bounds import (
    DIFFERENCE_STEPS,
    FINITE_DIFFERENCE,
    MOST_EXPLICIT,
    QUADRATURE,
    THRESHOLDS,
    Arithmetic,
    Measure,
)
from emcheck.checks import CHECKS, Case, Subject
from emcheck.checks.core import agree
from emcheck.checks.differences import Quality, central_difference
from emcheck.checks.estimates import judged
from emcheck.checks.trial import Trial
from emcheck.contract import InvertibleLayer
from emcheck.faults.core import Faulty, unwrap
from emcheck.layers import (
    AffineCoupling2d,
    AutoregressiveConv2d,
    Conv1x1,
    Conv1x1PLU,
    ExponentialConv2d,
    PeriodicConv2d,
    Woodbury2d,
)
from emcheck.oracle.precision import EXTENDED
from emcheck.specs import SPECS

SINGLE = Arithmetic.of(torch.float32)
U32, U64 = 2.0**-24, 2.0**-53
WEIGHT = -0.75  # the only tap that is not zero
LOG = math.log(0.75)


def _array(values: Sequence[float], *shape: int) -> Any:
    return np.array(values, dtype=EXTENDED).reshape(shape or (1, len(values), 1, 1))


def _one_tap(layer: Any, weight: float = WEIGHT) -> Any:
    """A convolution of one channel that is a multiplication."""
    r = layer.kernel_size // 2
    layer.weight.data.zero_()
    layer.weight.data[0, 0, r, r] = weight
    return layer


def _define(layer: InvertibleLayer, *event: int) -> Any:
    return SPECS[type(layer)].define(layer, event or (1, 1, 1))


def _causal() -> Any:
    return _define(_one_tap(AutoregressiveConv2d(1, 3)))


def _t1(share: float) -> Measure:
    """gamma_2 |w| |x|, one product and no bias."""
    x = _array([1.5])
    bound = 2 * U32 / (1 - 2 * U32) * 0.75 * 1.5
    return _causal().forward_error(x, WEIGHT * x + share * bound, SINGLE)


def _t2(share: float) -> Measure:
    """gamma_2 (|w| |xh| + |z|)."""
    z = _array([-1.125])
    bound = 2 * U32 / (1 - 2 * U32) * 2 * 1.125
    return _causal().backward_error(z, (z + share * bound) / WEIGHT, SINGLE)


def _t3(share: float) -> Measure:
    """|1 / w| (gamma_1 + gamma_2) |w| |x|."""
    x = _array([1.5])
    return _causal().round_trip_error(x, x + share * 3 * U32 * 1.5, SINGLE)


def _t4(share: float) -> Measure:
    """u ((C + 3) |log d| + 2 |log d|)."""
    logdet = np.array([LOG + share * 6 * U32 * abs(LOG)], dtype=EXTENDED)
    return _causal().logdet_error(_array([1.5]), logdet, SINGLE)


def _periodic() -> Any:
    return _define(_one_tap(PeriodicConv2d(1, 3)), 1, 2, 2)


def _t5(share: float) -> Measure:
    """10 u (log2 4 + 1) |w| ||x||_2."""
    x = _array([1.0, -2.0, 2.0, 0.0], 1, 1, 2, 2)
    z = WEIGHT * x
    z[0, 0, 1, 0] -= share * 10 * U32 * 3 * 0.75 * 3
    return _periodic().forward_error(x, z, SINGLE)


def _t6(share: float) -> Measure:
    """10 u (log2 4 + 1) times 4 frequencies of S / s = 1 and |log s|."""
    bound = 10 * U32 * 3 * 4 * (1 + abs(LOG))
    logdet = np.array([4 * LOG - share * bound], dtype=EXTENDED)
    return _periodic().logdet_error(_array([0.0] * 4, 1, 1, 2, 2), logdet, SINGLE)


def _t7(share: float) -> Measure:
    """10 n ||W||_1 ||x||_1 eps = 10 * 2 * 6 * 4 * 2 u."""
    layer, matrix = Conv1x1(2), np.array([[1.0, 2.0], [0.0, -4.0]])
    layer.weight.data.copy_(torch.from_numpy(matrix))
    x = _array([3.0, -1.0])
    z = _array(list(matrix @ [3.0, -1.0]))
    z += _array([0.5, -0.5]) * share * 960 * U32
    return _define(layer, 2, 1, 1).forward_error(x, z, SINGLE)


class Doubling(nn.Module):
    """``z = 2 x`` of unknown make, off by a relative error of its inverse or of its log-det."""

    def __init__(self, inverse: float = 0.0, logdet: float = 0.0) -> None:
        super().__init__()
        self.off, self.logdet_off = inverse, logdet

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logdet = math.log(2) * x[0].numel() + self.logdet_off
        return 2 * x, x.new_full((len(x),), logdet)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z * 0.5 * (1 + self.off), z.new_full((len(z),), -math.log(2) * z[0].numel())


def _measure(
    check: str, subject: Subject | nn.Module, event: tuple[int, ...] = (1, 1, 1)
) -> Measure:
    """What a check says of a subject or a layer, on one entry or a tiny image."""
    known = subject if isinstance(subject, Subject) else Subject.of_layer(subject)
    case = CHECKS[check].adapt(Case(event, batch=1), known)
    return CHECKS[check].function(Trial(known, case))


def _t8(share: float) -> Measure:
    """5 u ||J^-1|| (||J|| |x| + |z|) = 5 u (2 |x| + 2 |x|) / 2."""
    return _measure("inverse_undoes_forward", Doubling(inverse=share * 10 * U64))


def _t9(share: float) -> Measure:
    """10 u (n kappa + 2 |ld|) = 10 u (1 + 2 log 2)."""
    off = share * 10 * U64 * (1 + 2 * math.log(2))
    return _measure("logdet_matches_jacobian", Doubling(logdet=off))


def _t10(share: float) -> Measure:
    """u e^|w| (19 + 3 |w|) |x| for one tap and one step, u |w| / 20 |z| for what is left out."""
    x, size = _array([1.5]), abs(WEIGHT)
    bound = U32 * (19 + 3 * size) * 1.5 * math.exp(size)
    bound += U32 * size / 20 * 1.5 * math.exp(WEIGHT)
    definition = _define(_one_tap(ExponentialConv2d(1, 3)))
    return definition.forward_error(x, x * np.exp(EXTENDED(WEIGHT)) + share * bound, SINGLE)


def _t11(share: float) -> Measure:
    """The residual of ``x = z - 2 K z``, ``S = 2`` and ``K = 1/4``, and then of the identity."""
    layer = Woodbury2d(1, 1, 1, 1, 1)
    channel, space = layer.ordered()
    channel.u.data.fill_(2.0)
    channel.v.data.fill_(0.5)
    for part in (space.u, space.v):
        part.data.zero_()
    gamma = 3 * U32 / (1 - 3 * U32)
    small = U32 * 2 * (2 * (1 + 1) + 3 * 2) * 0.25  # u |U| E |K|
    bound = (gamma * (1 + 1) * (1 + 2 * 0.25) + small + gamma) * 1.5
    z = _array([1.5])
    return _define(layer).backward_error(z, z / 2 + share * bound / 2, SINGLE)


def _probed(share: float) -> Measure:
    """1e-9 n (1 + log kappa): all probes of 2 I agree, and kappa = 2 for 1, unseen as it is."""
    n = MOST_EXPLICIT + 1
    off = share * 1e-9 * n * (1 + math.log(2))
    return _measure("logdet_matches_jacobian", Doubling(logdet=off), (n,))


def _running(share: float) -> Measure:
    """An affine coupling at its start, z2 = x2 g with g = sigmoid(2).

    The argument 2 is off by 2 u, which moves the gate by g (1 - g) 2 u; the gate itself is good
    to 4 u and its product to 1 u, the shift to 1 u: u |x2| g (2 (1 - g) + 5 + 1).
    """
    gate = 1 / (1 + math.exp(-2))
    x = _array([0.3, 1.5])
    bound = U32 * 1.5 * gate * (8 - 2 * gate)
    exact = _array([0.3, 1.5 / (1 + np.exp(EXTENDED(-2)))])
    definition = _define(AffineCoupling2d(2), 2, 1, 1)
    return definition.forward_error(x, exact + _array([0.0, share * bound]), SINGLE)


def _agreement(share: float) -> Measure:
    """Two values, each within 3 of the truth."""
    return agree(_array([1.0 + share * 6]), _array([1.0]), _array([3.0]))


class _WrongGradient(torch.autograd.Function):
    """The identity, whose gradient is too large."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.factor, None


class Identity(nn.Module):
    """``z = x`` with a gradient that is off by a relative error."""

    def __init__(self, off: float) -> None:
        super().__init__()
        self.off = off

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z: Tensor = _WrongGradient.apply(x, 1 + self.off)
        return z, x.new_zeros(len(x))

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z.clone(), z.new_zeros(len(z))


def _gradient(share: float) -> Measure:
    """1e-6 (|w x| + |w| + |w v|) for the slope w v along v, and 4 spreads of the difference."""
    trial = Trial(Subject.of_layer(Identity(0.0)), Case((1, 1, 1), batch=1))
    stream = trial.case.generator(7)
    _, v = (float(torch.randn(1, generator=stream, dtype=torch.float64)) for _ in range(2))
    v *= max(abs(float(trial.x)), 2.0**-4)  # a step is as large as what it moves
    size = abs(float(trial.x)) + 1 + abs(v)
    return _measure("gradient_of_latent", Identity(share * 1e-6 * size / abs(v)))


class _LogdetOff(Faulty[Conv1x1PLU]):
    """A correct layer whose log-det is too large."""

    off = 0.0

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = self.layer(x)
        return z, logdet + self.off


def _quadrature(share: float) -> Measure:
    """The integral is 1 + 1e-8."""

    def build(case: Case) -> nn.Module:
        layer = _LogdetOff(Conv1x1PLU(case.event[0], generator=case.generator(0)))
        layer.off = share * 1e-8
        return layer

    subject = Subject("off", build, spec=SPECS[Conv1x1PLU], own=True, unwrap=unwrap)
    return _measure("density_integrates_to_one", subject)


def _mean(share: float) -> Measure:
    """Draws of +-1 about a mean that is off by a share of six standard errors."""
    N = 1025
    signs = np.concatenate([np.ones(N // 2), -np.ones(N // 2), np.zeros(1)])
    off = share * 6 / math.sqrt(N)  # N - 1 draws of size 1 and one 0: the deviation is 1
    return judged(signs[:, None] + off, np.zeros(1), np.zeros(1))


class _Nearly(nn.Module):
    """The identity, whose inverse is off by a share of ten tolerances of 1e-3."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x.flatten(1).sum(1) * 0

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        size = 1 + z.abs().flatten(1).amax(1)
        off = self.share * 1e-2 * size.reshape(-1, *[1] * (z.dim() - 1))
        return z + off, z.flatten(1).sum(1) * 0


def _tolerated(share: float) -> Measure:
    """An inverse that is off by so much in x and in z."""
    subject = Subject("nearly", lambda case: _Nearly(share), tolerance=1e-3)
    return _measure("inverse_meets_its_tolerance", subject)


#: rule -> the measure of an error that is this share of threshold times bound.
EDGES: dict[str, Callable[[float], Measure]] = {
    **{"T1": _t1, "T2": _t2, "T3": _t3, "T4": _t4, "T5": _t5, "T6": _t6, "T7": _t7, "T8": _t8},
    **{
        "T9": _t9,
        "T10": _t10,
        "T11": _t11,
        "RUN": _running,
        "AGREE": _agreement,
        "FD": _gradient,
        "QUAD": _quadrature,
    },
    **{"PROBE": _probed, "MEAN": _mean, "TOL": _tolerated},
}


@pytest.mark.parametrize(("share", "fine"), [(0.8, True), (1.2, False)])
@pytest.mark.parametrize("rule", EDGES)
def test_errors_about_the_threshold(rule: str, share: float, fine: bool) -> None:
    measure = EDGES[rule](share)
    assert measure.rule == rule
    assert not measure.ill_conditioned
    assert measure.ok is fine, measure
    assert measure.ratio / measure.threshold == pytest.approx(share, rel=0.15)


def test_exact_leaves_no_room() -> None:
    """All rules have an edge above but the one for bitwise equality, which passes 0 alone."""
    assert set(THRESHOLDS) == {*EDGES, "EXACT"}
    assert Measure(0.0, "EXACT").ok
    assert not Measure(5e-324, "EXACT").ok


U32 = 2.0**-24


@pytest.mark.parametrize(
    ("f", "slope", "size"),
    [
        (math.sin, 1.0, 1.0),
        (lambda t: math.exp(40 * t), 40.0, 1.0),
        (lambda t: 1e6 + math.tanh(t), 1.0, 1e6),
        (lambda t: 0.0 * t, 0.0, 1.0),
        (lambda t: math.sqrt(t + 2.0**-14), 64.0, 1.0),  # outside the domain at large steps
        (lambda t: max(t - 2.0**-12, 0.0) + 3 * t, 3.0, 1.0),  # a kink beside the point
    ],
)
def test_a_difference_is_as_good_as_it_says(f: Any, slope: float, size: float) -> None:
    found = central_difference(f, size, U64)
    assert found.quality is Quality.GOOD
    assert abs(found.value - slope) <= 4 * found.spread
    assert found.spread <= 1e-3 * max(abs(slope), 1e-6 * size)


def test_a_difference_in_float32_is_coarser() -> None:
    found = central_difference(lambda t: float(np.float32(math.sin(1 + t))), 1.0, U32)
    assert found.quality is Quality.GOOD
    assert 1e-9 < abs(found.value - math.cos(1)) <= 4 * found.spread < 1e-3


@pytest.mark.parametrize(
    ("f", "quality"),
    [
        (abs, Quality.UNRELIABLE),  # a kink at the very point
        (lambda t: math.nan if t else 1.0, Quality.OUTSIDE),
        (lambda t: math.log(t - 1), Quality.OUTSIDE),
    ],
)
def test_where_differences_cannot_judge_they_say_so(f: Any, quality: Quality) -> None:
    assert central_difference(f, 1.0, U64).quality is quality


def test_what_a_difference_may_err_by_is_far_below_what_it_judges() -> None:
    """Rounding u / h and truncation h^2 of the first steps stay below a hundredth of the rule."""
    for share in DIFFERENCE_STEPS[:3]:
        step = U64**share
        assert U64 / step <= 0.1 * FINITE_DIFFERENCE
        assert step**2 <= 0.1 * FINITE_DIFFERENCE
    assert list(DIFFERENCE_STEPS[:3]) == sorted(DIFFERENCE_STEPS[:3])


def test_the_trapezoid_rule_is_good_to_the_quadrature() -> None:
    h, q = 0.75, 6.5
    assert 2 * math.exp(-2 * (math.pi / h) ** 2) + math.erfc(q / math.sqrt(2)) <= QUADRATURE


def test_the_largest_explicit_jacobian_takes_128_mib() -> None:
    assert 8 * MOST_EXPLICIT**2 == 128 * 2**20
