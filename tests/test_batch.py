"""A matrix of cases on a cluster: nothing is lost, nothing is double, mistakes are one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from emcheck._internal.cluster import connected
from emcheck._internal.seal import sealed
from emcheck.batch import Outcome, Settings, every_case, run_matrix
from emcheck.batch.backlog import MOST, Backlog
from emcheck.batch.case import MatrixCase, Record, run_batch, run_case
from emcheck.batch.show import told
from emcheck.batch.store import Store, opened, read_records
from emcheck.batch.tally import Tally
from emcheck.cli.main import main
from tests import scale

# What the workers' processes close late is not this suite's.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

FEW = Settings(examples=1, checks=("shapes_and_dtypes", "inverse_undoes_forward"))
HERE = "tests.test_batch"


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
    """Kills its process at seed 100 and those that the kit derives from it."""
    if torch.initial_seed() // 100 == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return Scale()


class Future:
    """A task that has ended as soon as it is asked for."""

    status = "finished"

    def __init__(self, value: list[Record] | Exception) -> None:
        self._value = value

    def done(self) -> bool:
        return True

    def release(self) -> None:
        pass

    def result(self, timeout: float) -> list[Record]:
        if isinstance(self._value, Exception):
            raise self._value
        return self._value


class Cluster:
    """A client whose workers die of some cases, and of those beside them for a time.

    Args:
        deadly: seeds of cases that kill.
        innocent: how many other tasks die beside them.
        refused: seeds of cases that cannot run.
    """

    def __init__(self, deadly: set[int], innocent: int = 0, refused: Sequence[int] = ()) -> None:
        self.deadly, self.innocent, self.refused = deadly, innocent, refused
        self.runs: list[list[MatrixCase]] = []

    def nthreads(self) -> dict[str, int]:
        return {"one": 1, "two": 1}

    def submit(self, run: Any, batch: list[MatrixCase], settings: Settings, pure: bool) -> Future:
        self.runs.append(batch)
        if self.deadly & {case.seed for case in batch}:
            return Future(self._killed())
        if self.innocent and len(self.runs) > 1:
            self.innocent -= 1
            return Future(self._killed())
        return Future([self._record(case) for case in batch])

    def _record(self, case: MatrixCase) -> Record:
        record = {**asdict(case), "seconds": 0.001}
        return record | ({"reason": "no"} if case.seed in self.refused else {"results": []})

    def _killed(self) -> Exception:
        from distributed import KilledWorker

        return KilledWorker("task", "worker", 1)


def run_on(cluster: Cluster, out: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> Outcome:
    """A matrix of one layer and so many seeds on a cluster that is none."""

    @contextmanager
    def connected(*_: object) -> Iterator[Cluster]:
        yield cluster

    monkeypatch.setattr("emcheck.batch.run.connected", connected)
    cases, _ = every_case(["Conv1x1"], [(2, 2, 3)], ["float64"], range(count))
    return run_matrix(cases, FEW, out)


@pytest.mark.system
def test_who_dies_beside_a_deadly_case_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster({7, 30}, innocent=3, refused=[5])
    outcome = run_on(cluster, tmp_path, monkeypatch, 100)
    assert {case.seed: why for case, why in outcome.lost.items()} == dict.fromkeys(
        (7, 30), "its worker died each time"
    )
    assert len(outcome.tally.done) == 98
    assert [case.seed for case in outcome.tally.refused] == [5]
    *_, last = (batch for batch in cluster.runs if 30 in {case.seed for case in batch})
    assert len(last) == 1
    lines = told(outcome)
    assert lines[0] == "98 of 100 cases done (0 of them before), 2 lost: NOT OK"
    assert "lost: Conv1x1 on 2x2x3 float64 seed=7: its worker died each time" in lines
    assert "could not run: Conv1x1 on 2x2x3 float64 seed=5: no" in lines
    # Once more: what was lost is tried again, and nothing else.
    again = Cluster(set())
    outcome = run_on(again, tmp_path, monkeypatch, 100)
    assert sorted(case.seed for batch in again.runs for case in batch) == [7, 30]
    assert (len(outcome.tally.done), len(outcome.lost)) == (100, 0)


@pytest.mark.system
def test_a_target_that_only_kills_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(set(range(1000)))
    outcome = run_on(cluster, tmp_path, monkeypatch, 1000)
    assert len(cluster.runs) == 2
    assert len(outcome.lost) == 1000
    assert list(outcome.lost.values()).count(
        "not tried: it has not answered, and Conv1x1 on 2x2x3 float64 seed=0 killed its workers"
    ) == 999  # fmt: skip
    assert len(told(outcome)) == 13


@pytest.mark.system
def test_a_layer_that_refuses_costs_its_own_cases_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = run_on(Cluster(set(), refused=[0]), tmp_path / "some", monkeypatch, 3)
    assert not outcome.ok
    assert len(outcome.tally.done) == 3
    assert "could not run: Conv1x1 on 2x2x3 float64 seed=0: no" in told(outcome)
    with pytest.raises(ValueError, match=r"^Conv1x1 on 2x2x3: no$"):
        run_on(Cluster(set(), refused=[0, 1, 2]), tmp_path / "all", monkeypatch, 3)


@pytest.mark.system
def test_killed_workers_and_a_killed_run_lose_nothing(tmp_path: Path) -> None:
    """SIGKILL for the command, then, as it goes on, for one of its workers."""
    layers, shapes, seeds = ("PermuteChannels", "ActNorm2d"), ("2,2,3",), 40
    words = scale.command(tmp_path, layers, shapes, seeds, workers=1)
    with scale.started(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as child:
        before = scale.wait_for(tmp_path, 20, child)
        orphans = scale.workers_of(child.pid)
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in orphans) and time.monotonic() < deadline:
        time.sleep(0.1)
    first = set(scale.kept(tmp_path)[0])
    found = scale.run_with_a_death(tmp_path, layers, shapes, seeds, at=len(first) + 60)
    assert found.code == 0, found.output
    assert len(found.rows) == 160
    assert set(found.rows.values()) == {1}
    assert found.content["before"] == len(first) >= before
    assert (found.content["expected"], found.content["done"]) == (160, 160)
    assert found.content["lost"] == {}
    assert found.results >= 160 * 3
    assert max(map(len, found.output.splitlines())) <= 80 + len(str(tmp_path))
    assert "Traceback" not in found.output


@pytest.mark.system
def test_a_case_that_kills_its_process_is_told_and_the_rest_finishes(tmp_path: Path) -> None:
    cases, _ = every_case([f"{HERE}:deadly"], [(2,)], ["float64"], range(0, 400, 100))
    outcome = run_matrix(cases, FEW, tmp_path, workers=1)
    assert not outcome.ok
    assert not outcome.lost
    assert {case.seed: why for case, why in outcome.tally.refused.items()} == {
        100: "the process died by signal 9 (SIGKILL) while the layer was built"
    }
    assert len(outcome.tally.done) == 4


@pytest.mark.system
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


@pytest.mark.system
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
    assert len(list(store.records())) < 6
    assert store.broken[0].startswith(f"{store.files[0]}, line 1: expected a result, got ")
    assert list(Store(tmp_path, {"state": "b"}, fresh=True).records()) == []


def _record(case: MatrixCase, verdict: str, ratio: float = 0.5) -> Record:
    result = {"check": "inverse_undoes_forward", "verdict": verdict, "ratio": ratio}
    return {**asdict(case), "seconds": 1.0, "results": [{**result, "threshold": 1.0}]}


@pytest.mark.parametrize("verdicts", [("PASS", "FAIL"), ("FAIL", "PASS")])
def test_a_fail_is_never_lost_to_a_pass(tmp_path: Path, verdicts: tuple[str, str]) -> None:
    cases, _ = every_case(["Conv1x1"], [(2, 2, 3)], ["float64"])
    (tmp_path / "results").mkdir()
    for name, verdict in zip("ab", verdicts, strict=True):
        line = sealed(_record(cases[0], verdict))
        (tmp_path / "results" / f"{name}.jsonl").write_text(line, encoding="utf-8")
    (kept,), broken = read_records(sorted((tmp_path / "results").iterdir()))
    assert not broken
    assert kept["results"][0]["verdict"] == "FAIL"


@pytest.mark.parametrize("cut", range(0, 200, 20))
def test_torn_and_impossible_results_are_told_and_the_rest_is_used(
    tmp_path: Path, cut: int
) -> None:
    cases, _ = every_case(["Conv1x1"], [(2, 2, 3)], ["float64"], range(4))
    good, torn, false, changed = (sealed(r).strip() for r in (
        _record(cases[0], "PASS"), _record(cases[1], "PASS"), _record(cases[2], "PASS", 7.0),
        _record(cases[3], "FAIL"),
    ))  # fmt: skip
    changed = changed.replace("FAIL", "PASS")
    (tmp_path / "results").mkdir()
    content = "\n".join([good, torn[: min(cut, len(torn) - 1)] or "\x00", false, changed]) + "\n"
    (tmp_path / "results" / "a.jsonl").write_text(content, encoding="utf-8")
    records, broken = read_records([tmp_path / "results" / "a.jsonl"])
    assert [MatrixCase.of(record) for record in records] == [cases[0]]
    assert len(broken) == 3
    assert "a PASS of inverse_undoes_forward with 7 bounds" in broken[1]
    assert "a line that does not agree with its checksum" in broken[2]


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


def test_a_local_cluster_leaves_the_environment_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    before = dict(os.environ)
    with connected(None, 1) as client:
        assert client.submit(int, "7").result(timeout=120) == 7
    assert dict(os.environ) == before


@pytest.mark.system
def test_a_running_scheduler_and_a_layer_that_refuses(tmp_path: Path) -> None:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        dashboard_address=None,
        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # another cluster may run
    ) as cluster:
        address = cluster.scheduler_address
        cases, _ = every_case(["PermuteChannels"], [(2, 2, 2)], ["float32"], range(3))
        outcome = run_matrix(cases, FEW, tmp_path / "good", scheduler=address)
        assert outcome.ok
        cases, _ = every_case([f"{HERE}:Scale"], [(2,), (3,)], ["float64"], range(8))
        outcome = run_matrix(cases, FEW, tmp_path / "bad", scheduler=address)
        assert not outcome.ok
        assert {case.event for case in outcome.tally.refused} == {(3,)}
        assert len(outcome.tally.done) == 16
    assert json.loads((tmp_path / "good" / "matrix.json").read_text())["--examples"] == "1"
