"""Each part of the checks of values, log-dets and structure notices what is wrong there alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from emcheck import bounds
from emcheck.bounds import MOST_SINGULAR, Arithmetic
from emcheck.checks import CHECKS, Case, Subject, run_check
from emcheck.checks import jacobians as jacobians_module
from emcheck.checks.trial import Trial
from emcheck.flows import Chain, Inverse
from emcheck.layers import (
    ActNorm2d,
    AffineCoupling2d,
    AutoregressiveConv2d,
    Conv1x1,
    EmergingConv2d,
    PeriodicConv2d,
    Squeeze2d,
)
from emcheck.result import Result, Verdict
from tests.judgements import Row, Spoilt, gate, known, off, off_if
from tests.wrong_layers import Gate

FAIL, PASS, ILL = Verdict.FAIL, Verdict.PASS, Verdict.ILL_CONDITIONED
UNSUPPORTED = Verdict.UNSUPPORTED
U64 = 2.0**-53


class Diagonal(nn.Module):
    """``z = d x`` on vectors, with a log-det that may be a lie."""

    def __init__(self, d: Any, logdet: float | None = None, at: int | None = None) -> None:
        super().__init__()
        self.d = torch.tensor(d, dtype=torch.float64)
        self.logdet, self.at = logdet, at

    def _total(self, x: Tensor, sign: float) -> Tensor:
        true = x.new_full((len(x),), float(self.d.abs().log().sum()))
        if self.logdet is not None:
            where = slice(None) if self.at is None else self.at
            true[where] = self.logdet
        return sign * true

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x * self.d.to(x), self._total(x, 1.0)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z / self.d.to(z), self._total(z, -1.0)


def _diagonal(d: Any, logdet: float | None = None, at: int | None = None) -> Any:
    return lambda: Diagonal(d, logdet, at)


#: The largest log-det near diag(1, 0), to the last bit.
_MOST = bounds.largest_logdet(np.array([1.0, 0.0]), Arithmetic.of(torch.float64))

JACOBIAN = [
    *(Row("logdet_matches_jacobian", _diagonal([2.0, 0.25], 1.0, at), FAIL, event=(2,))
      for at in (0, 1, 2)),
    Row("logdet_matches_jacobian", _diagonal([2.0, 0.25]), PASS, event=(2,)),
    Row("logdet_matches_jacobian", _diagonal([1.0, 0.0]), ILL, event=(2,)),
    Row("logdet_matches_jacobian", _diagonal([1.0, 0.0], math.nan), ILL, event=(2,)),
    Row("logdet_matches_jacobian", _diagonal([1.0, 0.0], 0.0), FAIL, "is singular", event=(2,)),
    Row("logdet_matches_jacobian", _diagonal([0.0, 0.0]), ILL, event=(2,)),
    Row("logdet_matches_jacobian", _diagonal([1.0, 0.0], _MOST), ILL, event=(2,)),
    Row("logdet_matches_jacobian", _diagonal([1.0, 0.0], _MOST * (1 - 1e-15)), FAIL, "singular",
        event=(2,)),
    Row("logdet_matches_jacobian", _diagonal([1.0, math.inf]), ILL, "not finite", event=(2,)),
    # Too ill for first order and not singular, and the other way round.
    Row("logdet_matches_jacobian", _diagonal([1.0, 5 * U64], math.log(10 * U64)), ILL, event=(2,)),
    Row("logdet_matches_jacobian", _diagonal([1.0] * 19 + [15 * U64], math.log(30 * U64)), ILL,
        event=(20,)),
    # Up to 512 rows a singular Jacobian is looked at.
    Row("logdet_matches_jacobian", _diagonal([1.0] * 511 + [0.0], 0.0), FAIL, "singular",
        event=(MOST_SINGULAR,), case={"batch": 1}),
    Row("logdet_matches_jacobian", _diagonal([1.0] * 512 + [0.0], 0.0), ILL, event=(513,),
        case={"batch": 1}),
    *(Row(f"{name}_undoes_{other}", _diagonal([1.0, 0.0]), ILL, event=(2,))
      for name, other in (("inverse", "forward"), ("forward", "inverse"))),
]  # fmt: skip


def _wrong_in(sample: int) -> Any:
    def change(given: Tensor, value: Tensor, logdet: Tensor) -> tuple[Tensor, Tensor]:
        moved = value.clone()
        if sample < len(value):
            moved[sample] += 1
        return moved, logdet

    return change


TRIPS = [
    Row("inverse_undoes_forward", gate, PASS),
    *(Row("inverse_undoes_forward", lambda n=n: gate(None, _wrong_in(n)), FAIL)
      for n in range(3)),
    *(Row("forward_undoes_inverse", lambda n=n: gate(_wrong_in(n)), FAIL) for n in range(3)),
]  # fmt: skip


@pytest.mark.parametrize("check", ["logdet_matches_jacobian", "inverse_undoes_forward"])
def test_a_perfect_answer_carries_its_condition_and_its_bound(check: str) -> None:
    result = Row(check, _diagonal([2.0, 0.5]), PASS, event=(2,)).judge()
    assert (result.ratio, result.condition) == (0.0, 4.0)
    assert result.bound > 0


class Nudged(Gate):
    """An inverse that ends a little off, with the log-det of where it ended."""

    def __init__(self, nudge: float) -> None:
        super().__init__(2)
        self.nudge = nudge

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x, _ = super().inverse(z)
        x = torch.cat([x[:, :1] + self.nudge, x[:, 1:]], dim=1)
        return x, -self.total(x)


class NudgedCoupling(nn.Module):
    """The same for a coupling whose definition is known."""

    def __init__(self, nudge: float) -> None:
        super().__init__()
        self.layer = AffineCoupling2d(2, 4, generator=torch.Generator().manual_seed(0))
        self.nudge = nudge

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x, _ = self.layer.inverse(z)
        x = torch.cat([x[:, :1] + self.nudge, x[:, 1:]], dim=1)
        return x, -self.layer.log_det(x)


def _coupling(nudge: float, forward: Any = None, inverse: Any = None) -> Callable[[], Subject]:
    def build() -> Subject:
        subject = known(NudgedCoupling(nudge), AffineCoupling2d(2, 4))
        return replace(
            subject,
            build=lambda case: Spoilt(NudgedCoupling(nudge), forward, inverse),
            unwrap=lambda layer: layer.layer.layer,  # type: ignore[union-attr,return-value]
        )

    return build


CANCEL = [
    Row("logdets_cancel", gate, PASS),
    *(Row("logdets_cancel", lambda n=nudge: Nudged(n), PASS) for nudge in (-1e-6, 1e-6)),
    Row("logdets_cancel", lambda: gate(None, off(0.0, 1e-6)), FAIL),
    *(Row("logdets_cancel", _coupling(nudge), PASS) for nudge in (-1e-9, 0.0, 1e-9)),
    Row("logdets_cancel", _coupling(0.0, None, off(0.0, 1e-6)), FAIL),
    Row("logdets_cancel", lambda: Conv1x1(2), PASS),
    Row("logdets_cancel", lambda: known(Spoilt(Conv1x1(2), None, off(0.0, 1e-6)), Conv1x1(2)),
        FAIL),
    Row("logdets_cancel", lambda: known(Spoilt(Conv1x1(2), off(0.0, 1e-6)), Conv1x1(2)), FAIL),
]  # fmt: skip


def _stays(layer: Any, style: str, generator: torch.Generator) -> None:
    """Parameters of a layer that is looked at where it is."""


def test_log_dets_cancel_up_to_their_size() -> None:
    """Twice the bound of forward's and one rounding of a log-det below zero."""

    def room(trial: Trial) -> float:
        there = float(trial.forward[1][0])
        assert there < 0
        return 2 * (float(trial.forward_bound(trial.x)[1][0]) + U64 * abs(there))

    layer = ActNorm2d(1)
    layer.scale.data.fill_(0.125)
    subject = known(layer, layer)
    fixed = replace(subject, spec=replace(subject.spec, move=_stays))  # type: ignore[type-var]
    case = Case((1, 1, 1), batch=1)
    by = room(Trial(fixed, case))
    for share, verdict in ((0.9, PASS), (-0.9, PASS), (1.2, FAIL), (-1.2, FAIL)):
        spoilt = Spoilt(layer, None, off(0.0, share * by))
        off_by = replace(fixed, build=lambda case, s=spoilt: s)  # type: ignore[misc]
        assert run_check(CHECKS["logdets_cancel"], off_by, case).verdict is verdict


class WithLogDet(Spoilt):
    """Has ``log_det``."""

    def __init__(self, by: float) -> None:
        super().__init__(Gate(2))
        self.by = by

    def log_det(self, x: Tensor) -> Tensor:
        return self.layer(x)[1] + self.by


ALONE = [
    Row("log_det_alone_agrees", gate, UNSUPPORTED, "no log_det"),
    Row("log_det_alone_agrees", lambda: WithLogDet(0.0), PASS),
    Row("log_det_alone_agrees", lambda: WithLogDet(1e-6), FAIL, own=True),
    Row("log_det_alone_agrees", lambda: WithLogDet(1e-6), Verdict.NOTE),
]


def test_ill_conditioned_cases_stay_small() -> None:
    subject = Subject.of_class("Conv1x1", Conv1x1)
    for check in ("logdet_matches_jacobian", "inverse_logdet_matches_jacobian"):
        adapt = CHECKS[check].adapt
        assert adapt(Case((5, 6, 7), style="ill"), subject).event == (3, 3, 3)
        assert adapt(Case((5, 6, 7), style="mixed"), subject).event == (5, 6, 7)


@pytest.fixture
def _few_dimensions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Explicit Jacobians of 48 dimensions at most, larger ones are probed."""
    monkeypatch.setattr(bounds, "MOST_EXPLICIT", 48)
    monkeypatch.setattr(jacobians_module, "MOST_EXPLICIT", 48)


@pytest.mark.usefixtures("_few_dimensions")
def test_larger_jacobians_are_probed() -> None:
    def judged(
        n: int, last: float = 2.0, logdet: float | None = None, dtype: Any = torch.float64
    ) -> Result:
        d = [2.0] * (n - 1) + [last]
        row = Row("logdet_matches_jacobian", _diagonal(d, logdet), PASS, event=(n,))
        return replace(row, case={"batch": 1, "dtype": dtype}).judge()

    small, large = judged(48), judged(49)
    assert (small.verdict, small.rule) == (PASS, "T9")
    assert (large.verdict, large.rule, large.detail) == (PASS, "PROBE", "by random probes")
    assert judged(49, 2.0, 3.0).verdict is FAIL
    for last in (0.0, 1e-20, 1e-200):
        found = judged(49, last)
        assert (found.verdict, found.rule) == (ILL, "PROBE"), last
    # In float32 a condition that first order cannot bear is still a finite log-det.
    found = judged(49, 1e-6, dtype=torch.float32)
    assert (found.verdict, found.rule) == (ILL, "PROBE")
    assert found.condition < 1e8


# --- structure -----------------------------------------------------------------------------------


def _tilted(axis: int) -> Any:
    """Adds x times a ramp along an axis of space: no longer circulant along it."""

    def change(x: Tensor, value: Tensor, logdet: Tensor) -> tuple[Tensor, Tensor]:
        ramp = torch.arange(x.shape[axis]).to(x).reshape(-1, *[1] * (3 - axis))
        return value + 1e-6 * x * ramp, logdet

    return change


def _own(layer: nn.Module, forward: Any = None, inverse: Any = None) -> Callable[[], Subject]:
    return lambda: known(Spoilt(layer, forward, inverse), layer)


_PERIODIC = PeriodicConv2d(2, generator=torch.Generator().manual_seed(0))
_CAUSAL = AutoregressiveConv2d(2, 3, generator=torch.Generator().manual_seed(0))
_PAIR = EmergingConv2d(2, generator=torch.Generator().manual_seed(0))


def _ahead(x: Tensor, value: Tensor, logdet: Tensor) -> tuple[Tensor, Tensor]:
    """Looks at the last pixel."""
    return value + 1e-9 * x[:, :, -1:, -1:], logdet


def _either_way(forward: Any, inverse: Any) -> Callable[[], Subject]:
    """A convolution with either mask, spoilt with both."""

    def build(case: Case) -> nn.Module:
        reverse = bool(case.options.get("reverse", False))
        return Spoilt(AutoregressiveConv2d(2, 3, "square", reverse), forward, inverse)

    return lambda: replace(known(_CAUSAL, _CAUSAL), build=build, unwrap=lambda one: one.layer)  # type: ignore


STRUCTURE = [
    Row("jacobian_is_triangular", lambda: _CAUSAL, PASS),
    Row("jacobian_is_triangular", _own(_CAUSAL, _ahead), FAIL, "above the diagonal"),
    *(Row("jacobian_matches_definition", lambda l=layer: l, PASS)
      for layer in (_CAUSAL, _PERIODIC, _PAIR, ActNorm2d(2), Inverse(_PAIR))),
    *(Row("jacobian_matches_definition", _own(layer, _ahead), FAIL)
      for layer in (_CAUSAL, _PERIODIC, _PAIR, ActNorm2d(2))),
    Row("jacobian_is_block_circulant", lambda: _PERIODIC, PASS),
    *(Row("jacobian_is_block_circulant", _own(_PERIODIC, _tilted(axis)), FAIL) for axis in (2, 3)),
    *(Row("reversed_is_flipped", lambda l=layer: l, PASS) for layer in (
        _CAUSAL, AutoregressiveConv2d(2, 3, "raster", reverse=True))),
    *(Row("reversed_is_flipped", _either_way(*changes), verdict) for changes, verdict in (
        ((None, None), PASS), ((_ahead, None), FAIL), ((None, _ahead), FAIL))),
]  # fmt: skip


def _chain() -> Chain:
    stream = torch.Generator().manual_seed(0)
    return Chain(Conv1x1(2, generator=stream), ActNorm2d(2), AffineCoupling2d(2, 4))


CHAINS = [
    Row("chain_adds_up", _chain, PASS),
    Row("chain_adds_up", _own(_chain(), off(1e-6)), FAIL),
    Row("chain_adds_up", _own(_chain(), off(0.0, 1e-6)), FAIL),
    Row("chain_adds_up", _own(_chain(), None, off(1e-14)), FAIL, "not the layers' in reverse"),
    Row("chain_adds_up", _own(_chain(), None, off(0.0, 1e-6)), FAIL),
]


def test_a_chain_adds_up_to_its_size() -> None:
    """Twice the bound of forward's and one rounding for each log-det, below zero too."""
    first, second = ActNorm2d(1), ActNorm2d(1)
    for layer in (first, second):
        layer.scale.data.fill_(0.125)
    chain = Chain(first, second)
    subject = known(chain, chain)
    fixed = replace(subject, spec=replace(subject.spec, move=_stays))  # type: ignore[type-var]
    case = Case((1, 1, 1), batch=1)
    trial = Trial(fixed, case)
    total = float(trial.forward[1][0])
    assert total < -4
    by = 2 * (float(trial.forward_bound(trial.x)[1][0]) + 2 * U64 * abs(total))
    for share, verdict in ((0.9, PASS), (-0.9, PASS), (1.2, FAIL), (-1.2, FAIL)):
        spoilt = Spoilt(chain, None, off(0.0, share * by))
        off_by = replace(fixed, build=lambda case, s=spoilt: s)  # type: ignore[misc]
        assert run_check(CHECKS["chain_adds_up"], off_by, case).verdict is verdict, share


# --- values at the ends --------------------------------------------------------------------------


def _sized(H: int, W: int) -> Callable[[Tensor], bool]:
    return lambda x: tuple(x.shape[2:]) == (H, W)


def _any_size(forward: Any = None, inverse: Any = None) -> Callable[[], Subject]:
    """A 1x1 convolution, spoilt, at any size and channel count."""

    def build(case: Case) -> nn.Module:
        layer = Conv1x1(case.event[0], generator=case.generator(0))
        return Spoilt(layer, forward, inverse)

    own = Subject.of_class("Conv1x1", Conv1x1)
    return lambda: replace(own, build=build, unwrap=lambda layer: layer.layer)  # type: ignore


def _vector_subject() -> Subject:
    own = Subject.of_class("Conv1x1", Conv1x1)
    return replace(own, build=lambda case: Diagonal([1.0, 2.0]), definition=lambda l, e: None)  # type: ignore


ENDS = [
    Row("degenerate_sizes", _any_size(), PASS),
    Row("degenerate_sizes", _any_size(off_if(_sized(1, 1), 1.0)), FAIL),
    Row("degenerate_sizes", _any_size(None, off_if(_sized(2, 3), 1.0)), FAIL),
    Row("degenerate_sizes", _any_size(off_if(_sized(4, 1), 0.0, 1.0)), FAIL),
    Row("degenerate_sizes", _any_size(None, off(1.0)), PASS, lacks=("exact_inverse",)),
    Row("degenerate_sizes", lambda: Conv1x1(2), PASS),
    Row("degenerate_sizes", lambda: Chain(Conv1x1(2)), UNSUPPORTED, "are not known"),
    Row("degenerate_sizes", _vector_subject, UNSUPPORTED, "are not known", event=(2,)),
    *(Row("extreme_scales", _any_size(), PASS, case={"seed": seed}) for seed in (0, 1)),
    Row("extreme_scales", _any_size(lambda x, v, l: (v * 1.01, l)), FAIL, case={"seed": 1}),
    Row("extreme_scales", _any_size(None, lambda x, v, l: (v * 1.01, l)), FAIL, case={"seed": 1}),
    Row("extreme_scales", _any_size(None, lambda x, v, l: (v * 1.01, l)), PASS, case={"seed": 1},
        lacks=("exact_inverse",)),
    Row("extreme_parameters", _any_size(), PASS),
    Row("extreme_parameters", _any_size(lambda x, v, l: (v * 1.01, l)), FAIL),
    Row("extreme_parameters", _any_size(None, lambda x, v, l: (v * 1.01, l)), FAIL),
    Row("extreme_parameters", _any_size(off(0.0, 1.0)), FAIL),
    Row("density_integrates_to_one", lambda: Subject.of_class("Squeeze2d", Squeeze2d), PASS,
        event=(1, 2, 2)),
    Row("density_integrates_to_one", _coupling(0.0), PASS, event=(2, 1, 1)),
    Row("density_integrates_to_one", _coupling(0.0), UNSUPPORTED, "4 dimensions",
        event=(2, 1, 2)),
]  # fmt: skip


def test_a_tiny_event_has_two_entries_or_what_a_squeeze_needs() -> None:
    adapt = CHECKS["density_integrates_to_one"].adapt
    anywhere = Subject.of_class("Conv1x1", Conv1x1)
    halves = Subject.of_class("AffineCoupling2d", AffineCoupling2d)
    squeezed = Subject.of_class("Squeeze2d", Squeeze2d)
    case = Case((5, 6, 6), batch=3, dtype=torch.float32, scale="huge", style="mixed")
    for subject, seed, options, event, kept in (
        (anywhere, 0, {}, (2, 1, 1), {}),
        (anywhere, 1, {}, (1, 1, 2), {}),
        (halves, 0, {}, (2, 1, 1), {}),
        (halves, 1, {}, (2, 1, 1), {}),
        (squeezed, 0, {}, (1, 2, 2), {}),
        (squeezed, 0, {"factor": 1}, (2, 1, 1), {"factor": 1}),
        (squeezed, 1, {"factor": 3}, (1, 2, 2), {"factor": 2}),
    ):
        tiny = adapt(replace(case, seed=seed, options=options), subject)
        assert (tiny.event, tiny.options) == (event, kept)
        assert (tiny.dtype, tiny.scale, tiny.batch) == (torch.float64, "unit", 1)
    fixed = adapt(case, Subject.of_layer(Chain(Conv1x1(5))))
    assert (fixed.event, fixed.dtype, fixed.batch) == ((5, 6, 6), torch.float64, 1)
    for channels, event in ((1, (1, 1, 2)), (2, (2, 1, 1))):
        built = Subject.of_layer(Conv1x1(channels))  # at both seeds, of which one asks for C = 2
        for seed in (0, 1):
            tiny = adapt(replace(case, event=(channels, 6, 6), seed=seed), built)
            assert tiny.event == event
    vector = adapt(replace(case, event=(7,)), anywhere)
    assert vector.event == (7,)


def test_smooth_cases_are_small_and_milder() -> None:
    adapt = CHECKS["gradient_of_latent"].adapt
    subject = Subject.of_class("Conv1x1", Conv1x1)
    for style, kept in (("ill", "mixed"), ("mixed", "mixed"), ("initial", "trained")):
        case = adapt(Case((5, 6, 7), batch=0, style=style, dtype=torch.float32), subject)
        assert (case.style, case.event, case.batch) == (kept, (3, 4, 4), 1)
    assert adapt(Case((5, 6, 7), batch=3), subject).batch == 3
    two = CHECKS["no_dead_parameter"].adapt
    assert two(Case((1, 6, 7)), subject).event == (2, 4, 4)
    assert two(Case((5, 6, 7)), subject).event == (3, 4, 4)
    assert two(Case((1, 6, 7)), Subject.of_layer(Conv1x1(1))).event == (1, 4, 4)


TABLE = [*JACOBIAN, *TRIPS, *CANCEL, *ALONE, *STRUCTURE, *CHAINS, *ENDS]


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_verdict(row: Row) -> None:
    result = row.judge()
    assert result.verdict is row.verdict, result
    assert row.word in result.detail
