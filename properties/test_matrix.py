"""A matrix of cases on a cluster: nothing is lost, nothing is double, mistakes are one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from emcheck.cli import main
from emcheck.matrix import Settings, every_case, run_matrix
from emcheck.matrix.backlog import MOST, Backlog
from emcheck.matrix.case import MatrixCase, run_batch, run_case
from emcheck.matrix.show import told
from emcheck.matrix.store import Store, opened
from emcheck.matrix.tally import Tally
from properties import scale

# What the workers' processes close late is not this suite's.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

FEW = Settings(examples=1, checks=("shapes_and_dtypes", "inverse_undoes_forward"))
HERE = "properties.test_matrix"


class Scale(nn.Module):
    """A correct scale per channel, except for what subclasses do."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x * self.log_scale.exp(), self.log_scale.sum().expand(len(x))

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z * (-self.log_scale).exp(), -self.log_scale.sum().expand(len(z))


class Wrong(Scale):
    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x, logdet = super().inverse(z)
        return x + 1, logdet


def deadly() -> Scale:
    """Kills its process at seed 1."""
    if torch.initial_seed() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return Scale()


def always_deadly() -> Scale:
    os.kill(os.getpid(), signal.SIGKILL)
    return Scale()


def moody() -> Scale:
    """Raises at seed 2."""
    if torch.initial_seed() == 2:
        raise RuntimeError("not today\nat all")
    return Scale()


def test_killed_workers_and_a_killed_run_lose_nothing(tmp_path: Path) -> None:
    """SIGKILL for the command, then, as it goes on, for one of its workers."""
    layers, shapes, seeds = ("PermuteChannels", "ActNorm2d"), ("2,2,3",), 80
    words = scale.command(tmp_path, layers, shapes, seeds)
    with scale.started(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as child:
        before = scale.wait_for(tmp_path, 20, child)
        orphans = scale.workers_of(child.pid)
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in orphans) and time.monotonic() < deadline:
        time.sleep(0.1)
    first = set(scale.kept(tmp_path)[0])
    found = scale.run_with_a_death(tmp_path, layers, shapes, seeds, at=len(first) + 60)
    assert found.code == 0, found.output
    assert len(found.rows) == 320
    assert set(found.rows.values()) == {1}
    assert found.content["before"] == len(first) >= before
    assert (found.content["expected"], found.content["done"]) == (320, 320)
    assert found.content["lost"] == {}
    assert found.results >= 320 * 3
    assert max(map(len, found.output.splitlines())) <= 80 + len(str(tmp_path))
    assert "Traceback" not in found.output


def test_a_case_that_kills_its_workers_is_lost_and_the_rest_finishes(tmp_path: Path) -> None:
    cases, _ = every_case(
        [f"{HERE}:deadly", f"{HERE}:always_deadly", f"{HERE}:moody"],
        [(2,)],
        ["float64"],
        [0, 1, 2, 3],
    )
    outcome = run_matrix(cases, FEW, tmp_path, workers=2)
    assert not outcome.ok
    lost = {(case.target.partition(":")[2], case.seed): why for case, why in outcome.lost.items()}
    assert lost.pop(("deadly", 1)) == "its worker died each time"
    assert {name for name, _ in lost} == {"always_deadly"}
    assert [seed for _, seed in sorted(lost)] == [0, 1, 2, 3]
    assert " ".join(lost.values()).count("not tried: it has not answered, and") == 3
    assert [case.seed for case in outcome.tally.refused] == [2]
    lines = told(outcome)
    assert lines[0] == "7 of 12 cases done (0 of them before), 5 lost: NOT OK"
    refused = f"{HERE}:moody on 2 float64 seed=2"
    raised = "expected a layer or a function that returns one; moody raised RuntimeError"
    assert f"could not run: {refused}: {raised}: not today at all" in lines


def test_results_are_those_of_the_kit_and_failures_are_told(tmp_path: Path) -> None:
    cases, _ = every_case([f"{HERE}:Wrong"], [(2,)], ["float64"])
    (record,) = run_batch(cases, FEW)
    found = {result["check"]: result["verdict"] for result in record["results"]}
    assert found == {"shapes_and_dtypes": "PASS", "inverse_undoes_forward": "FAIL"}
    tally = Tally()
    tally.add(record)
    assert not tally.ok(f"{HERE}:Wrong")
    assert [failure["check"] for failure in tally.failures] == ["inverse_undoes_forward"]
    assert tally.unproven(f"{HERE}:Wrong") == [((f"{HERE}:Wrong", (2,)), "inverse_undoes_forward")]
    with pytest.raises(AssertionError, match="two records of"):
        tally.add(record)


def test_a_case_is_kept_once_and_only_for_the_same_state(tmp_path: Path) -> None:
    cases, _ = every_case(["Conv1x1"], [(2, 2, 3)], seeds=range(3))
    records = [run_case(case, Settings(1, checks=("calls_are_pure",))) for case in cases]
    with opened(tmp_path, {"state": "a"}) as store:
        store.keep(records[:4])
        store.keep(records[:4])
        store.keep(records[2:])
        assert sorted(map(str, map(MatrixCase.of, store.records()))) == sorted(map(str, cases))
        with (
            pytest.raises(ValueError, match="another run writes there"),
            opened(tmp_path, {"state": "a"}),
        ):
            pass
    with pytest.raises(ValueError, match="were made with another state; --fresh drops them"):
        Store(tmp_path, {"state": "b"})
    store = Store(tmp_path, {"state": "a", "more": "c"})
    assert len(list(store.records())) == 6
    store.files[0].write_text("[")
    with pytest.raises(ValueError, match=r"expected lines of results, got others"):
        list(store.records())
    assert list(Store(tmp_path, {"state": "b"}, fresh=True).records()) == []


def test_tasks_grow_with_what_a_case_costs() -> None:
    cases, _ = every_case(["Conv1x1", "ActNorm2d"], [(2, 2, 3)], ["float64"], range(500))
    backlog = Backlog(cases)
    first = [backlog.take(8), backlog.take(8)]
    assert [len(batch) for batch in first] == [1, 1]
    assert {batch[0].target for batch in first} == {"Conv1x1", "ActNorm2d"}
    assert backlog.take(8) == []  # until one of them has answered
    backlog.learn(cases[0].pair, 1.5)
    assert len(backlog.take(8)) == 2
    backlog.learn(cases[0].pair, 0.001)
    assert len(backlog.take(8)) == MOST
    backlog.learn(cases[-1].pair, 0.001)
    taken = [case for batch in iter(lambda: backlog.take(4), []) for case in batch]
    assert len(set(taken)) == len(taken) == 1000 - 2 - 2 - MOST
    assert len(backlog) == 0


def test_registered_layers_are_left_out_of_events_that_they_lack() -> None:
    cases, lines = every_case(
        ["Squeeze2d", "AffineCoupling2d"], [(1, 2, 2), (2, 3, 3)], ["float32"]
    )
    assert [case.pair for case in cases] == [
        ("Squeeze2d", (1, 2, 2)),
        ("AffineCoupling2d", (2, 3, 3)),
    ]
    assert lines == [
        "Squeeze2d on 2x3x3: expected multiples of 2 as H and W, got 3 and 3",
        "AffineCoupling2d on 1x2x2: expected 2 channels or more, got 1",
    ]


GOOD = ("check", "Conv1x1", "Conv1x1QR", "--shape", "2,2,3")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("check", "nonsense", "Conv1x1", "--shape", "2,2,3"), "or all, got 'nonsense'"),
        (("check", "no.such:f", "Conv1x1", "--shape", "2"), "cannot import no.such"),
        ((*GOOD, "--shape", "two"), "expected a shape like 4,8,6, got 'two'"),
        ((*GOOD, "--shape", "2,0,3"), "expected shape (D,)"),
        (("check", "Squeeze2d", "--shape", "2,3,3", "--seeds", "2"), "multiples of 2 as H and W"),
        ((*GOOD, "--dtype", "half"), "expected dtypes among float32, float64"),
        ((*GOOD, "--seeds", "0"), "at least one seed"),
        ((*GOOD, "--only", "speed"), "expected the name of a check (emcheck list), got 'speed'"),
        ((*GOOD, "--workers", "0"), "expected at least 1 worker, got 0"),
        ((*GOOD, "--scheduler", "tcp://127.0.0.1:1"), "expected a Dask scheduler, got"),
    ],
)
def test_mistakes_are_one_line(
    words: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["emcheck", *words, f"--out={tmp_path / 'kept'}"])
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(SystemExit) as stopped:
        main()
    shown = capsys.readouterr()
    assert stopped.value.code == 2, shown.err
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert said in shown.err


def test_without_dask_a_matrix_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    cases, _ = every_case(["Conv1x1"], [(2, 2, 3)])
    with pytest.raises(ValueError, match=r"got none: pip install 'emcheck\[cluster\]'"):
        run_matrix(cases, FEW, tmp_path)


def test_a_running_scheduler_and_a_layer_that_refuses(tmp_path: Path) -> None:
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster:
        address = cluster.scheduler_address
        cases, _ = every_case(["PermuteChannels"], [(2, 2, 2)], ["float32"], range(3))
        outcome = run_matrix(cases, FEW, tmp_path / "good", scheduler=address)
        assert outcome.ok
        cases, _ = every_case([f"{HERE}:Scale"], [(2,), (3,)], ["float64"], range(50))
        with pytest.raises(ValueError, match=r"Scale on 3: .*") as caught:
            run_matrix(cases, FEW, tmp_path / "bad", scheduler=address)
    assert "\n" not in str(caught.value)
    assert json.loads((tmp_path / "good" / "matrix.json").read_text())["--examples"] == "1"
