"""What every check leans on: calls, capabilities, cases, verdicts, limits and trials, by hand."""

from __future__ import annotations

import contextlib
import math
import sys
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from emcheck.bounds import MOST_EXPLICIT, Arithmetic, Measure
from emcheck.checks import CHECKS, Case, Subject, run_check
from emcheck.checks import core as core_module
from emcheck.checks.calling import call, call_inverse, per_sample
from emcheck.checks.capabilities import missing
from emcheck.checks.core import Check, Unsupported, agree, check, identical, worst, yes
from emcheck.checks.trial import Trial
from emcheck.flows import Chain, Inverse
from emcheck.guard import TimeLimit, time_limit
from emcheck.known import Clause
from emcheck.layers import (
    ActNorm2d,
    AutoregressiveConv2d,
    Conv1x1,
    PermuteChannels,
    Squeeze2d,
    Woodbury2d,
)
from emcheck.oracle.precision import EXTENDED, Array
from emcheck.result import Verdict
from emcheck.specs.core import Trait
from tests.judgements import Spoilt
from tests.wrong_layers import Mixing

INF, NAN = math.inf, math.nan


class Answers(nn.Module):
    """Answers what it was given, whatever that is."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor) -> Any:
        return self.answer

    def inverse(self, z: Tensor) -> Any:
        return self.answer


X = torch.zeros(2, 3)


@pytest.mark.parametrize(
    ("logdet", "expected"),
    [
        (1.5, [1.5, 1.5]),
        (2, [2.0, 2.0]),
        (torch.tensor(3.0), [3.0, 3.0]),
        (torch.tensor([1.0, 2.0]), [1.0, 2.0]),
        (torch.tensor([[1.0], [2.0]]), [1.0, 2.0]),
    ],
)
@pytest.mark.parametrize("kind", [tuple, list])
def test_a_log_det_is_one_number_per_sample(logdet: Any, expected: list[float], kind: Any) -> None:
    for run in (call, call_inverse):
        value, found = run(Answers(kind((X + 1, logdet))), X)
        assert bool((value == 1).all())
        assert found.tolist() == expected


def test_no_log_det_at_all_is_nan() -> None:
    assert per_sample(None, X, "forward").isnan().tolist() == [True, True]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (X, "forward: expected (z, logdet), got Tensor"),
        ((X,), "forward: expected (z, logdet), got tuple of 1"),
        ([X, X[0], X], "forward: expected (z, logdet), got list of 3"),
        ((None, X[0]), "forward: expected a tensor z, got NoneType"),
        ((X, "0"), "forward: expected logdet (B,), got str"),
    ],
)
def test_another_answer_is_named(answer: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:
        call(Answers(answer), X)
    assert str(error.value) == message


# --- capabilities and cases ----------------------------------------------------------------------


def test_what_a_layer_lacks_follows_from_what_it_declares() -> None:
    assert missing({}) == {}
    assert missing({"inverse": True, "modes": True}) == {}
    assert list(missing({"modes": False})) == ["modes"]
    lacks = missing({"exact_inverse": True, "inverse": False}, "told")
    assert list(lacks) == ["inverse", "inverse_logdet", "inverse_gradient", "exact_inverse"]
    assert lacks["inverse"].endswith("an inverse (told)")
    with pytest.raises(ValueError, match=r"expected capabilities among inverse, .*, got 'speed'"):
        missing({"speed": True})
    with pytest.raises(ValueError, match="expected True or False for capability modes, got 1"):
        missing({"modes": 1})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "text",
    [
        "(2, 3, 4, 5) float64 trained seed=0",
        "(0, 7) float32 mixed huge seed=12",
        "(2, 3, 4, 5) float64 ill tiny kernel_size=3 mask=square reverse=True seed=1",
    ],
)
def test_a_case_is_read_back_from_its_text(text: str) -> None:
    case = Case.parse(text)
    assert str(case) == text
    assert Case.parse(str(case)) == case
    assert case.scale == {"huge": "huge", "tiny": "tiny"}.get(text.split()[-2], case.scale)


def test_the_unit_scale_is_not_printed() -> None:
    assert Case.parse("(2, 3) float64 trained seed=0").scale == "unit"
    assert str(Case((3,), scale="huge")) == "(2, 3) float64 trained huge seed=0"
    assert Case.parse("(2, 3) float32 cuda trained seed=0").device == "cuda"
    assert Case.parse("(2, 3) float64 trained tiny k=3 seed=0").scale == "tiny"


@pytest.mark.parametrize("text", ["", "(2, 3) float16 trained seed=0", "(2, 3) float64 seed=0"])
def test_another_text_is_no_case(text: str) -> None:
    with pytest.raises(ValueError, match="expected a case like"):
        Case.parse(text)


def test_a_subject_is_named_and_known_by_its_layer() -> None:
    assert Subject.of_layer(Mixing()).name == "Mixing"
    assert Subject.of_layer(Mixing(), "mine").name == "mine"
    assert not Subject.of_layer(Mixing()).own
    assert Subject.of_layer(Conv1x1(2)).own
    simple = {
        Conv1x1(2): True,
        Chain(Conv1x1(2)): False,
        Inverse(Conv1x1(2)): False,
        Mixing(): False,
        Woodbury2d(2, 3, 4): False,
    }
    for layer, any_size in simple.items():
        assert Subject.of_layer(layer).any_size is any_size


def test_a_layer_is_built_anew_for_other_options_only() -> None:
    layer = AutoregressiveConv2d(2, 3, "square")
    layer.weight.data.add_(1)  # type: ignore[operator]
    subject = Subject.of_layer(layer)
    options = {"kernel_size": 3, "mask": "square", "reverse": False, "dilation": 1}
    same: Any = subject.build(Case((2, 4, 5), options=options))
    assert torch.equal(same.weight, layer.weight)
    assert same is not layer
    other: Any = subject.build(Case((2, 4, 5), options={**options, "kernel_size": 5}))
    assert other.weight.shape[-1] == 5
    stranger: Any = Subject.of_layer(Mixing()).build(Case((3,), options={"anything": 1}))
    assert isinstance(stranger, Mixing)


def _definition(layer: nn.Module, event: Any) -> Any:
    return "mine"


def test_a_definition_that_is_given_comes_before_that_of_the_spec() -> None:
    own = Subject.of_layer(Conv1x1(2))
    assert type(own.define(Conv1x1(2), (2, 1, 1))).__name__ != "str"
    given = replace(own, definition=_definition)
    assert given.define(Conv1x1(2), (2, 1, 1)) == "mine"
    stranger = Subject.of_layer(Mixing())
    assert stranger.define(Mixing(), (2, 1, 1)) is None
    assert [s.is_defined for s in (own, given, stranger)] == [True, True, False]
    assert replace(stranger, definition=_definition).is_defined


def test_cases_are_clipped_to_what_the_subject_allows() -> None:
    case = Case((5, 6, 7))
    free = Subject.of_class("Conv1x1", Conv1x1)
    assert free.clip(case, 3, 4).event == (3, 4, 4)
    assert free.clip(Case((2, 3, 7)), 3, 4).event == (2, 3, 4)
    fixed = Subject.of_layer(Conv1x1(5))
    assert fixed.clip(case, 3, 4).event == (5, 4, 4)
    assert fixed.fewest_channels(case) == 5
    assert Subject.of_layer(Mixing()).clip(case, 3, 4).event == (5, 6, 7)
    assert free.fewest_channels(case) == 1
    pair = Subject.of_class("Squeeze2d", Squeeze2d)
    assert pair.clip(Case((5, 9, 6), options={"factor": 3}), 2, 4).event == (2, 3, 3)
    assert pair.clip(Case((5, 9, 6), options={"factor": 3}), 2, 2).event == (2, 3, 3)
    strange = Subject("any", lambda case: Mixing(case.event[0]))
    assert strange.fewest_channels(case) == 1
    coupling = Subject.of_class("Gate", Chain)
    assert coupling.clip(case, 1, 4).event == (2, 4, 4)


# --- core ----------------------------------------------------------------------------------------


def test_identical_is_bitwise_and_knows_nan() -> None:
    a = torch.tensor([1.0, NAN, INF])
    assert identical(a, a.clone())
    assert not identical(a, torch.tensor([1.0, NAN, -INF]))
    assert not identical(a, torch.tensor([1.0, 2.0, INF]))
    assert not identical(torch.tensor([1.0, 2.0, INF]), a)
    assert not identical(torch.tensor([NAN]), torch.tensor([1.0]))
    assert not identical(torch.ones(1), torch.ones(2))
    assert not identical(torch.ones(2, 1), torch.ones(2))
    assert identical(torch.ones(0), torch.ones(0))


def test_the_worst_is_what_fails_worst_or_comes_closest() -> None:
    fine, closer = Measure(0.5, "T1"), Measure(8.0, "T5")
    assert worst(fine, closer) == worst(closer, fine) == closer
    bad, worse = Measure(2.0, "T1"), Measure(40.0, "T5")
    assert worst(fine, bad, worse) == worst(worse, bad, fine) == worse
    excused = replace(Measure(INF, "T9"), ill_conditioned=True)
    assert worst(excused, bad) == worst(bad, excused) == bad
    assert worst(fine, excused) == excused
    mild = replace(Measure(0.9, "T1"), ill_conditioned=True)
    assert worst(bad, mild) == bad
    assert worst(yes(False, "no"), yes(True)).detail == "no"
    assert worst(fine, yes(False, "no")).detail == "no"


def _off(*by: float) -> Any:
    """Ones that are off."""
    return 1 + np.array(by, EXTENDED)


def test_values_agree_within_twice_the_bound() -> None:
    one, bound = np.ones(2, EXTENDED), np.array([0.25, 0.25])
    assert agree(_off(0.5, 0), one, bound).ratio == 1.0
    assert not agree(_off(0, 0.75), one, bound, "told").ok
    assert agree(_off(0, 0.75), one, bound, "told").detail == "told"


def test_an_entry_without_bound_excuses_no_other() -> None:
    one, bound = np.ones(2, EXTENDED), np.array([INF, 0.25])
    wrong = agree(_off(0, 1), one, bound)
    assert (wrong.ok, wrong.ill_conditioned, wrong.ratio) == (False, False, 2.0)
    fine = agree(_off(5, 0.125), one, bound)
    assert (fine.ok, fine.ill_conditioned) == (True, True)
    lost = agree(np.array([NAN, 1], EXTENDED), one, bound)
    assert (lost.ok, lost.ill_conditioned) == (False, True)


def test_a_check_is_registered_once_and_summed_up_by_its_first_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(core_module, "CHECKS", {})

    def fine(trial: Trial) -> Measure:
        """The first line.

        And more.
        """
        return yes(True)

    check("contract", Clause.SHAPES)(fine)
    with pytest.raises(ValueError, match="expected a new name for a check, got 'fine' twice"):
        check("contract", Clause.SHAPES)(fine)
    (made,) = core_module.CHECKS.values()
    assert made.summary == "The first line."
    assert {one.summary == "" for one in CHECKS.values()} == {False}


def _check(*needs: Any, **options: Any) -> Check:
    return replace(CHECKS["calls_are_pure"], needs=needs, **options)


def test_a_check_applies_where_the_spec_offers_what_it_needs() -> None:
    stranger, linear = Subject.of_layer(Mixing()), Subject.of_layer(Conv1x1(2))
    permuted = Subject.of_layer(PermuteChannels(2))
    for needs, who in (
        ((), (True, True, True)),
        (("inverse", "exact_logdet"), (True, True, True)),
        (("definition",), (False, True, True)),
        ((Trait.LINEAR,), (False, True, True)),
        ((Trait.PERIODIC,), (False, False, False)),
        ((Trait.LINEAR, Trait.PERIODIC), (False, False, False)),
        (("rescale",), (False, True, False)),
        (("rescale", "inverse"), (False, True, False)),
        (("definition", "rescale"), (False, True, False)),
    ):
        found = tuple(_check(*needs).applies(s) for s in (stranger, linear, permuted))
        assert found == who, needs
    assert _check("definition").applies(replace(stranger, definition=_definition))
    assert not _check(Trait.LINEAR).applies(replace(stranger, definition=_definition))


def test_what_hinders_a_check() -> None:
    subject = Subject.of_layer(Mixing())
    assert _check("inverse").hindered(subject) is None
    lacking = replace(subject, lacks={"inverse": "none"})
    assert _check("inverse").hindered(lacking) == (Verdict.UNSUPPORTED, "none")
    assert _check("modes").hindered(lacking) is None
    broken = replace(subject, broken={"inverse": "it raises"})
    assert _check("inverse").hindered(broken) == (Verdict.NOT_RUN, "it raises")
    assert _check("modes").hindered(broken) is None
    coupled = replace(subject, coupled="by statistics")
    assert _check().hindered(coupled) == (Verdict.UNSUPPORTED, "by statistics")
    assert _check(couples=True).hindered(coupled) is None
    assert _check(couples=True).hindered(subject) is None


def _run(function: Any, own: bool = False, house: bool = False, **options: Any) -> Any:
    made = _check(function=function, house=house)
    subject = replace(Subject.of_layer(Mixing()), own=own)
    return run_check(made, subject, Case((3, 1, 2)), **options)


def _raises(error: Exception) -> Any:
    def function(trial: Trial) -> Measure:
        raise error

    return function


@pytest.mark.parametrize(
    ("measure", "verdict"),
    [
        (Measure(0.5, "T1"), Verdict.PASS),
        (Measure(1.5, "T1"), Verdict.FAIL),
        (Measure(NAN, "T1"), Verdict.FAIL),
        (replace(Measure(0.5, "T1"), ill_conditioned=True), Verdict.PASS),
        (replace(Measure(1.5, "T1"), ill_conditioned=True), Verdict.ILL_CONDITIONED),
    ],
)
def test_the_verdict_of_a_measure(measure: Measure, verdict: Verdict) -> None:
    result = _run(lambda trial: measure)
    assert result.verdict is verdict
    assert result.ill_conditioned == (verdict is Verdict.ILL_CONDITIONED)
    assert (result.rule, result.threshold, result.examples) == ("T1", 1.0, 1)


def test_the_verdict_of_an_exception() -> None:
    for own, house, verdict in (
        (True, True, Verdict.FAIL),
        (True, False, Verdict.FAIL),
        (False, True, Verdict.NOTE),
        (False, False, Verdict.FAIL),
    ):
        result = _run(_raises(KeyError("this")), own, house)
        assert result.verdict is verdict
        assert result.detail == "raised KeyError: 'this'"
        assert _run(lambda trial: Measure(2.0, "T1"), own, house).verdict is verdict
    refused = _run(_raises(Unsupported("cannot be")))
    assert (refused.verdict, refused.detail) == (Verdict.UNSUPPORTED, "cannot be")
    absent = NotImplementedError("not written")
    assert _run(_raises(absent)).verdict is Verdict.UNSUPPORTED
    assert _run(_raises(absent), own=True).verdict is Verdict.FAIL


def test_a_check_that_does_not_end_is_not_run() -> None:
    def endless(trial: Trial) -> Measure:
        while True:
            time.sleep(0.001)

    result = _run(endless, seconds=0.05)
    assert (result.verdict, result.examples) == (Verdict.NOT_RUN, 0)
    assert result.detail == "the check did not end within 0.05 s"
    assert (result.examples, result.unfinished) == (0, 1)
    assert _run(lambda trial: yes(True), seconds=30).verdict is Verdict.PASS


def _excused(
    wide: Any, narrow: Any, dtype: torch.dtype, own: bool = False, defined: bool = False
) -> Verdict:
    """The verdict of a check that measures one thing in float64 and another in float32."""

    def function(trial: Trial) -> Measure:
        found = wide if trial.case.dtype == torch.float64 else narrow
        if isinstance(found, Exception):
            raise found
        return found

    layer = PermuteChannels(3) if defined else Mixing()
    subject = replace(Subject.of_layer(layer), own=own)
    return run_check(_check(function=function), subject, Case((3, 1, 2), dtype=dtype)).verdict


def test_cancellation_is_an_error_that_shrinks_with_the_unit() -> None:
    """u32 / u64 = 2^29: 40 of float32's bounds beside 40 of float64's is cancellation."""
    ill, fail, good = Verdict.ILL_CONDITIONED, Verdict.FAIL, Verdict.PASS
    off, far = Measure(40.0, "T9"), Measure(40.0 * 2**12, "T9")
    fine = Measure(0.0, "T9")
    for dtype in (torch.float32, torch.float64):
        assert _excused(off, off, dtype) is ill
        # 2^9 is the quotient of the units over 2^20: from there on it is the formula.
        assert _excused(replace(off, ratio=40.0 * 2**9), off, dtype) is ill
        assert _excused(replace(off, ratio=41.0 * 2**9), off, dtype) is fail
        assert _excused(far, off, dtype) is fail
        assert _excused(fine, fine, dtype) is good
        assert _excused(*(replace(m, rule="T7") for m in (off, off)), dtype) is fail
        assert _excused(*(replace(m, rule="AGREE") for m in (off, off)), dtype) is ill
        assert _excused(*(replace(m, ratio=INF) for m in (off, off)), dtype) is fail
    # Where one precision cannot be measured, nothing is excused.
    assert _excused(ValueError("no"), off, torch.float32) is fail
    assert _excused(off, ValueError("no"), torch.float64) is fail
    # Correct in float64 and off in float32.
    assert _excused(fine, off, torch.float32) is ill
    assert _excused(fine, off, torch.float64) is good


def test_known_layers_are_excused_only_if_float64_is_within_its_bound() -> None:
    ill, fail = Verdict.ILL_CONDITIONED, Verdict.FAIL
    off, fine = Measure(40.0, "T9"), Measure(5.0, "T9")
    for own, defined in ((True, True), (True, False), (False, True)):
        kind = {"own": own, "defined": defined}
        assert _excused(fine, off, torch.float32, **kind) is ill
        assert _excused(off, off, torch.float32, **kind) is fail
        assert _excused(off, fine, torch.float64, **kind) is fail
        agreed = [replace(m, rule="AGREE") for m in (fine, off)]
        agreed[0] = replace(agreed[0], ratio=0.5)
        assert _excused(*agreed, torch.float32, **kind) is fail


# --- limits --------------------------------------------------------------------------------------


def _spin(seconds: float) -> float:
    """How long a busy loop was let run, 30 seconds at most."""
    started = time.monotonic()
    try:
        with time_limit(seconds):
            while time.monotonic() - started < 30:
                time.sleep(0.001)
    except TimeLimit:
        pass
    return time.monotonic() - started


def test_a_loop_is_stopped_in_the_main_thread_and_elsewhere() -> None:
    assert _spin(0.05) < 10
    times: list[float] = []
    thread = threading.Thread(target=lambda: times.append(_spin(0.05)))
    thread.start()
    thread.join()
    assert times
    assert times[0] < 10


def test_a_sleep_is_interrupted_in_the_main_thread() -> None:
    started = time.monotonic()
    with pytest.raises(TimeLimit), time_limit(0.05):
        time.sleep(20)
    assert time.monotonic() - started < 10


def _end(told: list[str], seconds: float = 0.3) -> None:
    """What a finalizer does, which takes its time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.001)
    told.append("whole")


class _Dies:
    """A plain object, and one with a finalizer."""

    def __init__(self, finalizer: Callable[[], None] | None = None) -> None:
        self.finalizer = finalizer

    def __del__(self) -> None:
        if self.finalizer is not None:
            self.finalizer()


def _finalizer(told: list[str]) -> None:
    _Dies(lambda: _end(told))


def _callback(told: list[str]) -> None:
    key = _Dies()
    reference = weakref.ref(key, lambda ref: _end(told))
    del key
    assert reference() is None


@pytest.mark.parametrize("dying", [_finalizer, _callback])
def test_a_limit_waits_for_the_end_of_a_finalizer(
    dying: Callable[[list[str]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def until_stopped(told: list[str]) -> None:
        with contextlib.suppress(TimeLimit), time_limit(0.1):
            dying(told)
            _end([], 20)

    def in_a_thread(told: list[str]) -> None:
        runner = threading.Thread(target=until_stopped, args=(told,))
        runner.start()
        runner.join()

    for run in (until_stopped, in_a_thread):
        told, started = list[str](), time.monotonic()
        run(told)
        assert told == ["whole"]
        assert time.monotonic() - started < 10
    assert capsys.readouterr() == ("", "")


def test_a_finalizer_without_end_is_stopped_in_silence(capsys: pytest.CaptureFixture[str]) -> None:
    hook, started = sys.unraisablehook, time.monotonic()
    with contextlib.suppress(TimeLimit), time_limit(0.1):
        _Dies(lambda: _end([], 25))
        _end([], 20)
    assert time.monotonic() - started < 15
    assert sys.unraisablehook is hook
    assert capsys.readouterr() == ("", "")


def _spin_while_preparing(name: str) -> float:
    """How long a loop goes on that first spends 0.4 s in a function of the module ``name``."""
    space = {"__name__": name, "time": time}
    exec("def prepare(until):\n    while time.monotonic() < until: time.sleep(0.001)", space)
    started = time.monotonic()
    try:
        with time_limit(0.1):
            space["prepare"](started + 0.4)
            while time.monotonic() - started < 30:
                time.sleep(0.001)
    except TimeLimit:
        pass
    return time.monotonic() - started


@pytest.mark.parametrize("name", ["numba.core.compiler", "importlib._bootstrap"])
def test_no_limit_strikes_within_a_compilation_or_an_import(name: str) -> None:
    assert 0.4 <= _spin_while_preparing(name) < 10
    times: list[float] = []
    thread = threading.Thread(target=lambda: times.append(_spin_while_preparing(name)))
    thread.start()
    thread.join()
    assert 0.4 <= times[0] < 10


# --- trials --------------------------------------------------------------------------------------


def test_what_a_layer_has_is_what_it_neither_lacks_nor_breaks() -> None:
    subject = replace(Subject.of_layer(Mixing()), lacks={"modes": ""}, broken={"inverse": ""})
    trial = Trial(subject, Case((3, 1, 2)))
    assert [trial.has(name) for name in ("modes", "inverse", "exact_logdet")] == [0, 0, 1]


def test_memory_gives_copies_of_the_same_and_none_remembers_nothing() -> None:
    built = []

    def build(case: Case) -> nn.Module:
        built.append(case)
        return Mixing()

    for memo, count in (({}, 1), (None, 2)):
        built.clear()
        trial = Trial(Subject("m", build, memo=memo), Case((3, 1, 2)))
        first, second = trial.new_layer(), trial.new_layer()
        assert first is not second
        assert all(map(torch.equal, first.parameters(), second.parameters()))
        assert len(built) == count
    trial = Trial(Subject("m", build, memo={}), Case((3, 1, 2)))
    assert not torch.equal(*(trial.new_layer(purpose).weight for purpose in (1, 2)))  # type: ignore[arg-type]
    J = trial.jacobian(trial.x[0])
    assert trial.jacobian(trial.x[0]) is J
    other = Trial(Subject("m", build), Case((3, 1, 2)))
    assert other.jacobian(other.x[0]) is not other.jacobian(other.x[0])


def test_styles_move_what_may_be_moved() -> None:
    def weight(subject: Subject, style: str) -> Tensor:
        layer: Any = Trial(subject, Case((3, 1, 2), style=style)).new_layer()
        return layer.weight.detach()

    stranger = Subject.of_layer(Mixing())
    own = replace(Subject.of_layer(Conv1x1(3)), own=True)
    frozen = replace(stranger, lacks={"free_parameters": "they are roots of one"})
    for subject, start in ((stranger, Mixing().weight), (own, own.build(Case((3,))).weight)):
        assert torch.equal(weight(subject, "initial"), start.double())  # type: ignore[operator]
        seen = [weight(subject, style) for style in ("initial", "trained", "mixed", "optimised")]
        assert len({tuple(w.flatten().tolist()) for w in seen}) == 4
        once = Trial(subject, Case((3, 1, 2), style="initial")).new_layer(style="trained")
        assert torch.equal(once.weight, seen[1])  # type: ignore[arg-type]
    for style in ("trained", "optimised"):
        assert torch.equal(weight(frozen, style), Mixing().weight.double())


def test_optimising_starts_from_trained_parameters() -> None:
    """Four steps of 0.02 from there: nearer than the initial value is."""

    def weight(style: str) -> Tensor:
        case = Case((3, 1, 2), style=style)
        return Trial(Subject.of_layer(Mixing()), case).new_layer().weight.detach()  # type: ignore

    moved = (weight("optimised") - weight("trained")).abs().max()
    assert 0 < moved < 0.2


def test_a_spec_without_movement_stays() -> None:
    trial = Trial(Subject.of_layer(PermuteChannels(3)), Case((3, 1, 2)))
    assert torch.equal(trial.layer.index, PermuteChannels(3).index)  # type: ignore[arg-type]


def test_samples_are_normal_or_drawn_and_scaled() -> None:
    subject = Subject.of_layer(Mixing())
    trial = Trial(subject, Case((3, 1, 2), batch=5))
    assert trial.x.shape == (5, 3, 1, 2)
    assert trial.sample(2, batch=0).shape == (0, 3, 1, 2)
    assert trial.sample(2, batch=7).shape == (7, 3, 1, 2)
    drawn = replace(subject, draw=lambda B, event, generator: torch.full((B, *event), 0.25))
    assert bool((Trial(drawn, Case((3, 1, 2))).x == 0.25).all())
    huge = Trial(subject, Case((3, 1, 2), scale="huge"))
    assert float(huge.x.abs().max()) > 2.0**950


def test_latents_of_strangers_are_images_of_data() -> None:
    class Positive(Mixing):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x.exp(), x.flatten(1).sum(dim=1)

    trial = Trial(Subject.of_layer(Positive()), Case((3, 1, 2)))
    assert bool((trial.latent > 0).all())
    own = Trial(Subject.of_layer(ActNorm2d(3)), Case((3, 1, 2), batch=50))
    assert abs(float(own.latent.std()) - 1) < 0.2
    assert abs(float(own.latent.mean())) < 0.2


def test_a_definition_may_be_asked_for_another_case() -> None:
    trial = Trial(Subject.of_layer(Conv1x1(3)), Case((3, 1, 2)))
    other: Any = trial.define(trial.layer, Case((3, 4, 5)))
    assert other.event == (3, 4, 5)
    mine: Any = trial.define(trial.layer)
    assert mine.event == (3, 1, 2)


class Detached(Mixing):
    """An inverse without gradients."""

    @torch.no_grad()
    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return super().inverse(z)


@pytest.mark.parametrize("layer", [Mixing(), Detached()])
def test_jacobians_of_both_directions_are_inverse(layer: nn.Module) -> None:
    trial = Trial(Subject.of_layer(layer), Case((3, 1, 2)))
    J = trial.jacobian(trial.x[0])
    weight = trial.layer.weight.detach().numpy()  # type: ignore[operator]
    np.testing.assert_allclose(J, np.kron(weight, np.eye(2)), atol=1e-14)
    back = trial.jacobian(trial.forward[0][0], inverse=True)
    np.testing.assert_allclose(back @ J, np.eye(6), atol=1e-12)


class Doubles(nn.Module):
    """``2 x`` in any number of dimensions, forward and back."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * x, x.new_full((len(x),), math.log(2) * x[0].numel())

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z / 2, z.new_full((len(z),), -math.log(2) * z[0].numel())


def test_the_largest_explicit_jacobian() -> None:
    trial = Trial(Subject.of_layer(Doubles()), Case((MOST_EXPLICIT,), batch=1))
    trial._explicit = lambda x, inverse: "explicit"  # type: ignore[assignment,method-assign,return-value]
    assert trial.jacobian(trial.x[0]) == "explicit"
    larger = Trial(Subject.of_layer(Doubles()), Case((MOST_EXPLICIT + 1,), batch=1))
    with pytest.raises(Unsupported, match="4097 dimensions is too large"):
        larger.jacobian(larger.x[0])
    largest, smallest = larger.singular_extremes(larger.x[0])
    assert largest == pytest.approx(2, rel=1e-12)
    assert smallest == pytest.approx(1, rel=1e-12)  # half of what is seen: probes see from above


def test_small_jacobians_are_not_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    trial = Trial(Subject.of_layer(Doubles()), Case((3,), batch=1))
    assert trial.singular_extremes(trial.x[0]) == (2.0, 2.0)
    edge = Trial(Subject.of_layer(Doubles()), Case((MOST_EXPLICIT,), batch=1))
    monkeypatch.setattr(edge, "jacobian", lambda x, inverse: np.diag([3.0, 0.5]))
    assert edge.singular_extremes(edge.x[0]) == (3.0, 0.5)


def test_a_map_between_dimensions_has_no_determinant() -> None:
    half = Spoilt(Mixing(), lambda x, value, logdet: (value[:, :1], logdet))
    trial = Trial(Subject.of_layer(half), Case((3, 1, 2)))
    with pytest.raises(Unsupported, match="from 6 to 2 dimensions"):
        trial.jacobian(trial.x[0])


def test_bounds_of_strangers_come_from_their_jacobians() -> None:
    """Of 2 x: 5 u (2 |x| + |z|) and more than 10 u n forward; half of it going back."""
    trial = Trial(Subject.of_layer(Doubles()), Case((3,), batch=2))
    u = 2.0**-53
    size = 5 * u * 4 * trial.x.abs().numpy()
    least = np.linalg.norm(size, axis=1, keepdims=True) / np.sqrt(3)
    of_z, of_logdet = trial.forward_bound(trial.x)
    np.testing.assert_allclose(of_z, np.maximum(size, least), rtol=1e-12)
    np.testing.assert_allclose(of_logdet, 10 * u * (3 + 6 * math.log(2)), rtol=1e-12)
    xh, z = trial.x, 2 * trial.x
    np.testing.assert_allclose(trial.inverse_bound(xh, z), of_z / 2, rtol=1e-12)
    turned = Spoilt(Doubles(), lambda x, value, logdet: (-value, logdet))
    other = Trial(Subject.of_layer(turned), Case((3,), batch=2))
    np.testing.assert_allclose(other.inverse_bound(xh, -z), of_z / 2, rtol=1e-12)


def test_bounds_of_known_layers_come_from_their_definitions() -> None:
    trial = Trial(Subject.of_layer(ActNorm2d(3)), Case((3, 1, 2)))
    assert trial.definition is not None
    run = trial.definition.running(
        trial.x.numpy().astype(EXTENDED), np.zeros(trial.x.shape, EXTENDED), trial.arithmetic
    )
    of_z, of_logdet = trial.forward_bound(trial.x)
    assert (of_z == run.error).all()
    assert (of_logdet == run.logdet_error).all()
    assert (trial.inverse_bound(trial.x, trial.forward[0]) < 1e-14).all()


def test_a_bound_beyond_the_largest_number_is_infinite() -> None:
    class Vanishing(Doubles):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x * x.new_tensor([1e-300, 1.0]), x.new_zeros(len(x))

    trial = Trial(Subject.of_layer(Vanishing()), Case((2,), batch=1))
    x = torch.tensor([[1e300, 1.0]], dtype=torch.float64)
    z = torch.tensor([[1e30, 1.0]], dtype=torch.float64)
    with np.errstate(all="ignore"):
        bound = trial.inverse_bound(x, z)
    assert (bound == INF).all()  # nothing is known where the layer's slopes have vanished


def test_a_bound_of_the_largest_number_is_kept() -> None:
    most = float(np.finfo(np.float64).max)

    class Rough:
        def inverse_jacobian(self, x: Array) -> Array:
            return np.eye(2)

        def local_residual(self, xh: Array, z: Array, arithmetic: Arithmetic) -> Array:
            return np.array([[most, 1.0]])

    subject = replace(Subject.of_layer(Doubles()), definition=lambda layer, event: Rough())
    bound = Trial(subject, Case((2,), batch=1)).inverse_bound(
        *torch.zeros(2, 1, 2, dtype=torch.float64)
    )
    assert bound.tolist() == [[most, 1.0]]


def test_a_limit_around_a_check_is_not_the_check_s() -> None:
    """A check without a limit of its own lets that of its caller through."""

    def build(case: Case) -> nn.Module:
        time.sleep(5)
        raise AssertionError

    with pytest.raises(TimeLimit), time_limit(0.1):
        run_check(CHECKS["shapes_and_dtypes"], Subject("slow", build, own=False), Case((2,)))
