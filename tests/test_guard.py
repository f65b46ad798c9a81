"""What others' code raises, changes or never finishes stays theirs; the caller's state stays."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from emcheck import check_layer
from emcheck.checks import CHECKS, Case
from emcheck.guard import Interrupt, foreign, one_line
from emcheck.guard.settings import SETTINGS
from emcheck.guard.surroundings import Surroundings
from emcheck.kit import Checker, Report
from emcheck.result import Verdict

#: Checks of every family, to be quick.
FEW = (
    "shapes_and_dtypes", "calls_are_pure", "gradient_of_latent", "logdet_matches_jacobian",
    "inverse_undoes_forward", "settings_are_kept",
)  # fmt: skip


class Scale(nn.Module):
    """A right layer that does something besides in forward."""

    def __init__(self, besides: Callable[[], object] = int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(3))
        self.besides = besides

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.besides()
        return x * self.log_scale.exp(), self.log_scale.sum().expand(len(x))

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z * (-self.log_scale).exp(), -self.log_scale.sum().expand(len(z))


def report_of(layer: object) -> Report:
    checker = Checker(layer, (3,))
    found = [r for name in FEW for r in checker.run(CHECKS[name])]
    checker.close()
    return checker.report(found)


def settings() -> dict[str, Any]:
    """All that is put back but what pytest itself exchanges between the phases of a test."""
    own = ("the root logger", "the standard streams", "the environment")
    return {setting.name: setting.read() for setting in SETTINGS if setting.name not in own}


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = settings()
    yield
    after = settings()
    assert {name: after[name] for name in before if after[name] != before[name]} == {}


def _default_dtype() -> AbstractContextManager[object]:
    class Wide(AbstractContextManager[None]):
        def __enter__(self) -> None:
            torch.set_default_dtype(torch.float64)

        def __exit__(self, *_: object) -> None:
            torch.set_default_dtype(torch.float32)

    return Wide()


@pytest.mark.parametrize(
    "around",
    [
        nullcontext,
        torch.no_grad,
        torch.inference_mode,
        lambda: torch.device("meta"),
        lambda: torch.autocast("cpu", dtype=torch.bfloat16),
        _default_dtype,
    ],
    ids=["nothing", "no_grad", "inference", "meta", "autocast", "float64"],
)
def test_the_caller_s_settings_change_no_verdict(
    around: Callable[[], AbstractContextManager[object]],
) -> None:
    plain = report_of(Scale)
    with around():
        inside = report_of(Scale)
        given = Scale()
        if given.log_scale.is_meta:
            with pytest.raises(ValueError, match="on the meta device"):
                report_of(given)
        else:
            assert report_of(given).ok
    records = [[r.to_record() for r in report.results] for report in (plain, inside)]
    assert str(records[0]) == str(records[1])
    assert plain.ok


@pytest.mark.parametrize(
    ("besides", "told"),
    [
        (lambda: torch.set_default_dtype(torch.float64), "the default dtype"),
        (lambda: torch.set_num_threads(3), "the number of threads"),
        (lambda: torch.use_deterministic_algorithms(True), "deterministic algorithms"),
        (lambda: torch.set_float32_matmul_precision("medium"), "the precision of float32 products"),
        (lambda: torch.autograd.set_detect_anomaly(True), "anomaly detection"),
        (lambda: os.chdir("/"), "the working directory"),
        (lambda: logging.getLogger().setLevel(logging.CRITICAL), "the root logger"),
        (lambda: signal.signal(signal.SIGUSR2, signal.SIG_IGN), "handlers of signals"),
        (lambda: sys.setrecursionlimit(12345), "the limit of recursion"),
    ],
)
def test_what_a_layer_changes_is_told_and_put_back(
    besides: Callable[[], object], told: str
) -> None:
    report = report_of(lambda: Scale(besides))
    notes = [r for r in report.results if r.check == "settings_are_kept"]
    assert {r.verdict for r in notes} == {Verdict.NOTE}
    assert all(told in r.detail for r in notes)
    assert report.ok, str(report)


def test_what_the_kit_switches_off_itself_is_not_the_layer_s() -> None:
    checker = Checker(Scale, (3,))
    assert checker.found.event == (3,)
    assert not checker.surroundings.changed
    with Surroundings().standard(), torch.no_grad():
        checker.subject.build(Case((3,)))
        assert not torch.is_grad_enabled()


def test_gradients_that_a_call_switches_off_are_the_explanation() -> None:
    report = check_layer(lambda: Scale(lambda: torch.set_grad_enabled(False)), (3,))
    assert report.explanations[0].cause == "changes_settings", str(report)
    assert "gradients" in report.explanations[0].text


class Odd(BaseException):
    """Not an ``Exception``, and without a message that could be made."""

    def __str__(self) -> str:
        raise RuntimeError("no message")


def _raises(error: BaseException) -> Callable[[], object]:
    def run() -> None:
        raise error

    return run


@pytest.mark.parametrize(
    "error", [SystemExit(0), KeyboardInterrupt(), GeneratorExit(), Odd(), BaseException("own")]
)
def test_whatever_a_layer_raises_is_its_own(error: BaseException) -> None:
    with pytest.raises(ValueError, match=type(error).__name__) as caught:
        check_layer(lambda: Scale(_raises(error)), (3,))
    assert "\n" not in str(caught.value)

    def make() -> nn.Module:
        raise error

    with pytest.raises(ValueError, match=f"make raised {type(error).__name__}"):
        check_layer(make, (3,))


@pytest.mark.usefixtures("heard")
def test_ctrl_c_is_nobody_s_but_the_user_s() -> None:
    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    with pytest.raises(KeyboardInterrupt):
        check_layer(lambda: Scale(interrupt), (3,))
    with Surroundings().standard(), pytest.raises(Interrupt):
        signal.raise_signal(signal.SIGINT)


def test_a_message_that_cannot_be_made_is_the_class() -> None:
    told = []
    try:
        raise Odd
    except foreign() as error:
        told.append(one_line(error))
    assert told == ["Odd"]


class Property(Scale):
    @property
    def inverse(self) -> Any:
        raise RuntimeError("a property\nthat raises")


def test_a_property_that_raises_is_one_line() -> None:
    with pytest.raises(ValueError, match="a property that raises") as caught:
        check_layer(Property, (3,))
    assert "\n" not in str(caught.value)


def test_two_threads_leave_the_settings_as_they_were() -> None:
    done: list[bool] = []

    def run() -> None:
        done.append(report_of(lambda: Scale(lambda: torch.set_default_dtype(torch.float64))).ok)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [True] * 3


@pytest.mark.parametrize("seed", [-1, -(2**63), 2**64 + 5, 10**30])
def test_any_whole_number_is_a_seed(seed: int) -> None:
    checker = Checker(Scale, (3,), seed=seed)
    results = checker.run(CHECKS["inverse_undoes_forward"])
    assert {r.verdict for r in results} == {Verdict.PASS}
    assert Case.parse(results[0].case).seed >= seed


SLEEPS = """
import ctypes, torch
from tests.test_guard import Scale

def sleep():
    ctypes.PyDLL(None).pause(), ctypes.PyDLL(None).pause(), ctypes.PyDLL(None).pause()

class Hangs(Scale):
    def inverse(self, z):
        while True:
            sleep()

class Hungry(Scale):
    def inverse(self, z):
        torch.zeros(10**10).add_(1)
        return super().inverse(z)
"""


@pytest.mark.system
@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("Hangs", ("--time-limit=1",), "inverse did not return within 1 s"),
        ("Hungry", ("--memory=1",), "can't allocate memory"),
    ],
)
def test_a_target_is_limited_from_outside(
    tmp_path: Path, name: str, options: tuple[str, ...], told: str
) -> None:
    (tmp_path / "mine.py").write_text(SLEEPS, encoding="utf-8")
    command = [sys.executable, "-m", "emcheck", "check", f"mine:{name}", "--shape=3", *options]
    path = os.pathsep.join([str(Path(__file__).parent.parent), *filter(None, sys.path)])
    env = os.environ | {"PYTHONPATH": path}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=500, cwd=tmp_path, env=env
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert told in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
