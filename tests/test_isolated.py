"""A layer that kills its process: one FAIL of one check, and everything else as it was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from emcheck import Report, Result, Verdict, check_layer
from emcheck.isolated import Job, isolated_report
from emcheck.isolated.child import finding_of, sent_finding
from emcheck.isolated.wire import report_of, result_of, sent_report
from emcheck.kit import Checker
from tests import killing_layers

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no process of its own there")


def _job(name: str) -> Job:
    return Job(f"{killing_layers.__name__}:{name}", (2,), examples=1)


@pytest.fixture(scope="module")
def here() -> Report:
    """The layer that kills nothing, in this process."""
    return check_layer(killing_layers.Wrong, (2,), examples=1)


def test_the_report_is_that_of_check_layer(here: Report) -> None:
    heard: list[str] = []
    report = isolated_report(_job("Wrong"), lambda check, result: heard.append(check.name))
    assert report.to_json() == here.to_json()
    assert report.explanations
    assert heard == [result.check for result in here.results]


@pytest.mark.system
def test_a_death_is_one_fail_and_everything_else_counts(here: Report) -> None:
    report = isolated_report(_job("InForwardMode"))
    died = [result for result in report.results if "the process" in result.detail]
    assert [(result.check, result.verdict) for result in died] == [("jvp_agrees", Verdict.FAIL)]
    told = "the process died by signal 11 (SIGSEGV) in check jvp_agrees (killing_layers.py, line "
    assert died[0].detail.startswith(told)
    assert died[0].reproduce.startswith('emcheck.reproduce(layer, "jvp_agrees", "(')
    others = [result for result in report.results if result not in died]
    unhurt = [result for result in here.results if result.check != "jvp_agrees"]
    assert list(map(_record, others)) == list(map(_record, unhurt))
    assert report.explanations == here.explanations


def _record(result: Result) -> dict[str, Any]:
    """Without the name of the layer; NaN is a text, which equals itself."""
    return result.to_record() | {"layer": ""}


@pytest.mark.system
def test_a_death_in_the_diagnosis_costs_the_explanations() -> None:
    report = isolated_report(_job("InDiagnosis"))
    assert len(report.failures) == 4
    assert report.explanations == ()
    told = "no explanations: the process died by signal 9 (SIGKILL) in the diagnosis"
    assert told in report.scope


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("NotBuilt", "the process exited with code 3 while the layer was built"),
    ],
)
def test_a_death_before_any_call_is_one_line(name: str, told: str) -> None:
    with pytest.raises(ValueError) as caught:
        isolated_report(_job(name))
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)


def test_a_death_in_the_first_call_is_a_verdict() -> None:
    report = isolated_report(_job("AtOnce"))
    (failure,) = report.failures
    assert failure.check == "shapes_and_dtypes"
    told = "the process died by signal 6 (SIGABRT) when the layer was first called ("
    assert failure.detail.startswith(told)
    assert {r.verdict for r in report.results} == {Verdict.FAIL, Verdict.NOT_RUN}
    assert "no explanation: the layer does not survive its first call" in str(report)


def _python(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=cwd)


def test_a_module_that_exits_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import os\nos._exit(0)\n", encoding="utf-8")
    done = _python("emcheck", "check", "mine:make", "--shape", "2", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "emcheck: the process exited with code 0 while mine was imported\n"


@pytest.mark.system
def test_a_layer_that_exits_fails_with_all_else_as_ever(tmp_path: Path) -> None:
    target, kept = _job("Leaves").target, tmp_path / "report.json"
    words = ("check", target, "--shape", "2", "--examples", "1", "--json", str(kept))
    done = _python("emcheck", *words)
    assert done.returncode == 1, done.stderr
    assert "the process exited with code 0 in check jvp_agrees" in done.stdout
    assert "most likely: " in done.stdout
    assert done.stderr == ""
    assert len(json.loads(kept.read_text(encoding="utf-8"))["results"]) > 40


@pytest.mark.system
def test_as_tests_only_the_deadly_checks_die(tmp_path: Path) -> None:
    chosen = "jvp_agrees or calls_are_pure or rows_are_independent"
    words = (f"--emcheck-target={_job('Leaves').target}", "--emcheck-shape=2", "-k", chosen)
    options = ("-q", "-p", "no:cacheprovider", f"--rootdir={tmp_path}")
    done = _python("pytest", *options, *words)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed, 2 passed" in done.stdout
    assert "the process exited with code 0 in check jvp_agrees" in done.stdout


@pytest.mark.usefixtures("heard")
def test_an_interrupt_ends_both_processes() -> None:
    words = ("emcheck", "check", _job("Waits").target, "--shape", "2", "--time-limit", "60")
    command = [sys.executable, "-m", *words]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, start_new_session=True, **streams) as parent:  # type: ignore[call-overload]
        child = int(parent.stdout.readline().removeprefix("in "))
        os.killpg(parent.pid, signal.SIGINT)
        _, said = parent.communicate(timeout=60)
    assert parent.returncode == 130
    assert said.startswith("emcheck: interrupted")
    assert said.count("\n") == 1
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_what_crosses_the_pipe_comes_back_the_same() -> None:
    checker = Checker(killing_layers.Wrong, (2,), examples=1)
    check = next(c for c in checker.checks if c.name == "logdet_matches_jacobian")
    report = checker.report(checker.run(check))
    message = json.loads(json.dumps(sent_report(report)))
    assert report_of(message, report.results) == report
    assert checker.findings
    for finding in checker.findings:
        again = finding_of(json.loads(json.dumps(sent_finding(finding))))
        assert sent_finding(again) == sent_finding(finding)
        assert again.case == finding.case
        assert result_of(sent_finding(finding)["result"]).verdict is Verdict.FAIL


@pytest.mark.system
def test_a_density_is_checked_in_a_process_of_its_own() -> None:
    target = "tests.densities:Coupled"
    ok = isolated_report(Job(target, (4,), density=True, only=("log_prob_is_base_plus_logdet",)))
    assert [result.verdict for result in ok.results] == [Verdict.UNSUPPORTED]
    whole = isolated_report(Job(f"{killing_layers.__name__}:Leaving", (2,), density=True))
    died = [result for result in whole.results if "the process exited" in result.detail]
    assert {result.case for result in died} == {"seed=0"}
    assert {result.check for result in whole.failures} == {result.check for result in died}
    assert len(whole.results) > len(died) > 0
