"""The canaries: healthy here, and each one fails on a fault, the real one included."""

from __future__ import annotations

import io
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from rich.console import Console

from emcheck.doctor import CAPABILITIES, NAMES, Canary, diagnose, trusted
from emcheck.doctor.child import judge, load
from emcheck.doctor.process import Conditions, run
from emcheck.doctor.self_tests import ADVICE, REGISTRY
from emcheck.doctor.show import render
from emcheck.doctor.threads import VARIABLES, ThreadState

#: FACTS: batched LU of torch with oneMKL, by itself and without any code of this project.
PROBE = """
import numpy, torch
torch.manual_seed(0)
A = torch.randn(4, 192, 192, dtype=torch.float64)
error = torch.linalg.slogdet(A)[1].numpy() - numpy.linalg.slogdet(A.numpy())[1]
print("wrong" if not abs(error).max() < 1e-6 else "right")
"""

#: Stands in for the real fault on an installation that does not have it.
SEEDED = """
if torch.get_num_threads() >= 2:
    right = torch.linalg.slogdet
    torch.linalg.slogdet = lambda A: (right(A)[0], right(A)[1] + 27.0 * (A.ndim > 2))
"""

#: canary -> functions of the library; a relative error of 1e-6 in any one must be noticed.
FAULTS: dict[str, tuple[tuple[Any, str], ...]] = {
    "numpy_linalg": tuple((np.linalg, name) for name in ("slogdet", "svd", "solve", "inv")),
    "scipy_lu": tuple((scipy.linalg, name) for name in ("lu_factor", "lu_solve")),
    "matmul": ((np, "einsum"),),
    "single_lu": tuple((torch.linalg, name) for name in ("slogdet", "solve", "inv")),
    "triangular": ((torch.linalg, "solve_triangular"),),
    "qr": ((torch.linalg, "qr"),),
    "batched_slogdet": tuple((torch.linalg, name) for name in ("slogdet", "lu_factor")),
    "batched_solve": tuple((torch.linalg, name) for name in ("solve", "inv")),
    "batched_complex": tuple((torch.linalg, name) for name in ("slogdet", "solve")),
    "batched_gradient": ((torch.autograd, "grad"), (torch.func, "vmap")),
    "fft": tuple((torch.fft, name) for name in ("rfft2", "fft2", "ifft2", "irfft2")),
    "conv": ((torch.nn.functional, "conv2d"), (torch.autograd, "grad")),
}


def python(code: str, **environment: str) -> str:
    """The output of a fresh interpreter; a hang of the known fault counts as ``wrong``.

    The limit is far above the half minute that a canary may take: a busy machine imports slowly.
    """
    path = os.pathsep.join(entry for entry in sys.path if entry)
    # Not the threads that a test before this one has left for its children.
    inherited = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    env = {**inherited, "PYTHONPATH": path, **environment}
    command = [sys.executable, "-c", code]
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        return "wrong"
    return done.stdout


def spoilt(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` with a relative error of 1e-6 in its first array of floats or its only one."""

    def scale(value: Any) -> Any:
        if isinstance(value, tuple):
            # slogdet has its log-det second, the others their largest factor first.
            index = 1 if np.ndim(value[0]) < np.ndim(value[-1]) or "slogdet" in name else 0
            return tuple(v * (1 + 1e-6) if i == index else v for i, v in enumerate(value))
        if callable(value):
            return spoilt(value)
        return value * (1 + 1e-6)

    name = getattr(function, "__name__", "")
    return lambda *args, **kwargs: scale(function(*args, **kwargs))


def test_every_canary_passes_here(healthy: tuple[Canary, ...]) -> None:
    assert tuple(canary.name for canary in healthy) == NAMES
    for canary in healthy:
        assert canary.ok, canary
        assert 0 <= canary.ratio <= canary.threshold
        assert canary.cases >= 10
        assert (canary.repair, canary.repaired) == ("", None)
        assert canary.threads == torch.get_num_threads()
    assert trusted(healthy) == frozenset(CAPABILITIES)


def test_records_are_json_and_the_table_fits(healthy: tuple[Canary, ...]) -> None:
    broken = Canary("fft", False, math.inf, 10.0, 1.0, "hangs", "work with one thread", True)
    canaries = (*healthy[:-2], broken, healthy[-1])
    records = json.loads(json.dumps([canary.to_record() for canary in canaries], allow_nan=False))
    assert {record["kind"] for record in records} == {"canary"}
    assert records[-2]["ratio"] == "inf"
    screen = io.StringIO()
    Console(width=80, file=screen).print(render(canaries))
    text = screen.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert "repair, tried: work with one thread" in text
    assert "not to be trusted: fft" in text
    assert trusted(canaries) == frozenset(CAPABILITIES) - {"fft"}


@pytest.mark.parametrize(
    ("name", "module", "function"),
    [(name, *fault) for name, faults in FAULTS.items() for fault in faults],
    ids=[f"{name}-{fault[1]}" for name, faults in FAULTS.items() for fault in faults],
)
def test_every_canary_notices_six_wrong_digits(
    name: str, module: Any, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, function, spoilt(getattr(module, function)))
    record = judge(load(name)())
    assert not record["ratio"] <= record["limit"], record


def test_every_canary_has_a_fault_and_every_capability_advice() -> None:
    assert set(FAULTS) == set(NAMES)
    assert set(ADVICE) == set(CAPABILITIES) == {e.capability for e in REGISTRY.values()}


@pytest.mark.system
@pytest.mark.parametrize("cause", ["call", "environment"])
def test_the_real_fault_is_caught_and_repaired(
    cause: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # "call" goes through a program that calls set_num_threads and then asks the doctor.
    call = "import torch; torch.set_num_threads(2)\n" if cause == "call" else ""
    switch = {"OMP_NUM_THREADS": "2"} | ({} if call else {"MKL_DYNAMIC": "FALSE"})
    setup = None if "wrong" in python(call + PROBE, **switch) else SEEDED
    if setup:
        with capsys.disabled():
            print("\nbatched LU is sound in this installation: a seeded fault stands in for it")
    ask = (
        "import json; from emcheck.doctor import diagnose\n"
        f"found = diagnose(30.0, ['batched_slogdet'], setup={setup!r})\n"
        "print(json.dumps(found[0].to_record()))"
    )
    # The real fault is a race between threads: where both share one busy core it can be missed.
    for _ in range(5):
        said = python(call + ask, **switch)
        if said == "wrong":
            continue  # it hung, as the fault itself may: asked again
        record = json.loads(said.splitlines()[-1])
        if not record["ok"] and record["repaired"]:
            break
    assert record["ok"] is False, json.dumps(record)
    assert record["repaired"] is True, json.dumps(record)
    if setup is None:
        named = "set_num_threads" in record["repair"], "MKL_DYNAMIC" in record["repair"]
        assert named == (bool(call), not call), record["repair"]


def test_a_hanging_canary_is_ended() -> None:
    (canary,) = diagnose(3.0, only=["fft"], setup="import time; time.sleep(600)")
    assert not canary.ok
    assert 3.0 <= canary.seconds < 10.0
    assert "time limit of 3 s" in canary.detail
    assert canary.repaired is True
    assert canary.repair.endswith("leave out the setup code")


@pytest.mark.parametrize(
    ("setup", "wanted"),
    [
        ("raise KeyError('first\\nsecond')", "KeyError: 'first\\nsecond'"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
    ],
    ids=["exception", "signal"],
)
def test_a_crash_is_one_line(setup: str, wanted: str) -> None:
    canary = run("fft", Conditions(os.environ, setup=setup), timeout=60.0)
    assert not canary.ok
    assert canary.ratio == math.inf
    assert canary.detail.startswith("ended early")
    assert wanted.replace("\n", "\\n") in canary.detail
    assert "\n" not in canary.detail


def test_the_thread_state_of_the_caller_is_taken_over() -> None:
    canary = run("fft", Conditions(os.environ, ThreadState(1, None)), timeout=60.0)
    assert canary.ok, canary
    assert canary.threads == 1


def test_names_and_time_limits_are_validated() -> None:
    with pytest.raises(ValueError, match="expected self-tests among numpy_linalg"):
        diagnose(only=["no_such_canary"])
    with pytest.raises(ValueError, match="expected a time limit above 0 s, got 0"):
        diagnose(0.0)
