"""``emcheck run``: stages in order, resumed after an interruption, anew for another state."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emcheck.cli import FAILED
from emcheck.doctor.canary import Canary, read_canaries, write_canaries
from properties.portions import portion
from studies.suite import Context, Settings, Stage, run_stages, stages
from studies.suite.process import python
from studies.suite.sequence import KEPT
from tests.scale import started

#: The checkout for processes elsewhere: studies are not installed.
CHECKOUT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}

#: Seconds for what takes a few on a machine with nothing else to do.
PATIENCE = 240

#: Three stages that leave a mark each; the second waits while there is a file ``slow``.
STAGES = """
import time
from studies.suite import Settings, Stage, run_stages

def mark(root, name):
    def run(context):
        with (root / "marks").open("a") as file:
            file.write(name + " ")
        while name == "second" and (root / "slow").exists():
            time.sleep(0.05)
        return 0
    return run

def run(root, told=print):
    stages = [Stage(name, mark(root, name)) for name in ("first", "second")]
    stages.append(Stage("last", mark(root, "last"), always=True))
    return run_stages(stages, Settings(), root, told=told)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with one source file."""
    (tmp_path / "emcheck").mkdir()
    (tmp_path / "emcheck" / "layer.py").write_text("x = 1\n")
    return tmp_path


def marks(root: Path) -> str:
    return (root / "marks").read_text().strip() if (root / "marks").exists() else ""


def marked(root: Path, name: str, code: int = 0) -> Callable[[Context], int]:
    def run(context: Context) -> int:
        with (root / "marks").open("a") as file:
            file.write(f"{name} ")
        return code

    return run


def stopping(context: Context) -> int:
    raise KeyboardInterrupt


def stop_after(root: Path, *stages: Stage, settings: Settings | None = None) -> None:
    """A run that is interrupted behind these stages."""
    with pytest.raises(KeyboardInterrupt):
        run_stages([*stages, Stage("stop", stopping)], settings or Settings(), root)


def wait_for(what: Callable[[], bool], child: subprocess.Popen[str] | None = None) -> None:
    """Wait, but neither for ever nor for a process that has ended."""
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline
        assert child is None or child.poll() is None, f"ended with {child.returncode}"
        time.sleep(0.05)


def test_a_killed_run_goes_on_where_it_stopped(root: Path) -> None:
    (root / "slow").touch()
    program = root / "program"  # not beside the source file, which is no package
    program.mkdir()
    (program / "few.py").write_text(STAGES)
    code = "from pathlib import Path; import few; few.run(Path().absolute().parent)"
    stages: dict[str, Any] = {}
    exec(STAGES, stages)
    with started([sys.executable, "-c", code], cwd=program, env=CHECKOUT) as child:
        wait_for(lambda: marks(root) == "first second", child)
        with pytest.raises(ValueError, match="another emcheck run is under way"):
            stages["run"](root)
        child.send_signal(signal.SIGKILL)
        child.wait()
    (root / "slow").unlink()
    lines: list[str] = []
    assert stages["run"](root, lines.append) == 0
    assert marks(root) == "first second second last"
    assert lines[0].startswith("[1/3] first: kept from the interrupted run (0 min")
    assert not (root / KEPT).exists()
    assert stages["run"](root) == 0
    assert marks(root) == "first second second last first second last"


def test_a_changed_source_a_setting_or_fresh_starts_anew(root: Path) -> None:
    first = Stage("first", marked(root, "first"), ("profile",))
    second = Stage("second", marked(root, "second"), ("threads",))
    stop_after(root, first, second)
    stop_after(root, first, second)
    assert marks(root) == "first second"
    stop_after(root, first, second, settings=Settings(profile="ci", workers=3))
    assert marks(root) == "first second first"
    (root / "emcheck" / "layer.py").write_text("x = 2\n")
    stop_after(root, first, second)
    assert marks(root) == "first second first first second"
    run_stages([first, second], Settings(), root, fresh=True)
    assert marks(root) == "first second first first second first second"


def test_what_a_stage_wrote_must_still_be_there(root: Path) -> None:
    def write(context: Context) -> int:
        (root / "out.json").write_text("measured")
        return marked(root, "wrote")(context)

    stage = Stage("write", write, writes=("out.json",))
    stop_after(root, stage)
    stop_after(root, stage)
    assert marks(root) == "wrote"
    (root / "out.json").write_text("of another time")
    stop_after(root, stage)
    assert marks(root) == "wrote wrote"


def test_a_stage_that_fails_or_sees_its_sources_change_is_not_finished(root: Path) -> None:
    def edit(context: Context) -> int:
        (root / "emcheck" / "layer.py").write_text(marks(root))
        return marked(root, "edit")(context)

    stages = [Stage("fail", marked(root, "fail", 1)), Stage("edit", edit)]
    stop_after(root, *stages)
    lines: list[str] = []
    assert run_stages(stages, Settings(), root, told=lines.append) == 1
    assert marks(root) == "fail edit fail edit"
    assert "[1/2] fail: exit code 1 (0 min 00 s)" in lines
    assert lines[-1].endswith("exit code 1")


def test_a_stage_keeps_its_folder_over_an_interruption(root: Path) -> None:
    def count(context: Context) -> int:
        with (context.folders["count"] / "part").open("a") as file:
            file.write(".")
        if (context.folders["count"] / "part").stat().st_size == 1:
            raise KeyboardInterrupt
        return 0

    with pytest.raises(KeyboardInterrupt):
        run_stages([Stage("count", count)], Settings(), root)
    assert run_stages([Stage("count", count)], Settings(), root) == 0


@pytest.mark.parametrize("name", ["workers", "threads"])
def test_numbers_are_not_negative(name: str) -> None:
    with pytest.raises(ValueError, match=f"expected --{name} to be 0 or more, got -1"):
        replace(Settings(), **{name: -1})


def test_codes_of_children_are_those_of_the_command(tmp_path: Path) -> None:
    for code, expected in ((0, 0), (1, 1), (3, 2)):
        # A module each: compiled code is taken for that of any file of its size and second.
        (tmp_path / f"child{code}.py").write_text(f"raise SystemExit({code})")
        assert python(f"child{code}", cwd=tmp_path, environment={}) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of a death")
def test_children_of_a_killed_run_end(tmp_path: Path) -> None:
    (tmp_path / "child.py").write_text(
        "import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(100)\n"
    )
    code = (
        "from pathlib import Path; from studies.suite.process import python;"
        "python('child', cwd=Path(), environment={})"
    )
    with started([sys.executable, "-c", code], cwd=tmp_path, env=CHECKOUT) as parent:
        wait_for(
            lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "", parent
        )
        pid = int((tmp_path / "pid").read_text())
        parent.kill()
    wait_for(lambda: _state(pid) in ("", "Z"))


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def test_canaries_are_read_as_they_were_written(tmp_path: Path) -> None:
    said = (
        Canary("qr", True, 0.2, 10.0, 1.5, "fine", cases=3, threads=1),
        Canary("fft", False, float("inf"), 10.0, 1.0, "hangs", "one thread", True),
    )
    write_canaries(said, tmp_path / "canaries.jsonl")
    assert read_canaries(tmp_path / "canaries.jsonl") == said


#: Three tests, of which one waits for a file and one fails while there is another.
TESTS = """
import time
from pathlib import Path

HERE = Path(__file__).parent

def _mark(name, record_property):
    record_property("emcheck", {"name": name})
    with (HERE / "marks").open("a") as file:
        file.write(name + " ")

def test_a(record_property):
    _mark("a", record_property)

def test_b(record_property):
    _mark("b", record_property)
    assert not (HERE / "bad").exists()

def test_c(record_property):
    _mark("c", record_property)
    while (HERE / "slow").exists():
        time.sleep(0.05)
"""

CONFTEST = """
from pathlib import Path
from properties.journal import Journal

def pytest_configure(config):
    leads = not hasattr(config, "workerinput")
    config.pluginmanager.register(Journal(Path(__file__).parent / "kept", leads), Journal.NAME)

def pytest_terminal_summary(terminalreporter, config):
    names = sorted(r["name"] for r in config.pluginmanager.get_plugin(Journal.NAME).records)
    terminalreporter.write_line(f"kept: {names}")
"""


@pytest.mark.system
@pytest.mark.parametrize("processes", [0, 2])
def test_tests_that_passed_before_a_kill_are_kept(tmp_path: Path, processes: int) -> None:
    (tmp_path / "test_few.py").write_text(TESTS)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "slow").touch()
    (tmp_path / "bad").touch()
    words = [sys.executable, "-m", "pytest", f"-n{processes}", "-q"]
    words += ["-p", "no:cacheprovider", "-p", "no:emcheck"]
    inherited = {key: value for key, value in os.environ.items() if "XDIST" not in key}
    env = inherited | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    with started(words, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL) as child:
        wait_for(lambda: set(marks(tmp_path).split()) == {"a", "b", "c"}, child)
        wait_for(lambda: (tmp_path / "kept" / "now.jsonl").exists(), child)
        assert child.poll() is None
    with (tmp_path / "kept" / "now.jsonl").open("a") as file:
        file.write('{"test": "torn')
    (tmp_path / "slow").unlink()
    (tmp_path / "bad").unlink()
    time.sleep(1.0)  # the processes of the killed run see the file and end
    (tmp_path / "marks").unlink()
    outputs = []
    for _ in range(2):
        done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
        outputs.append(done.stdout)
    assert sorted(marks(tmp_path).split()) == ["b", "c"]
    assert "kept: ['a']" in outputs[0]
    assert "kept: ['a', 'b', 'c']" in outputs[1]
    first, *_ = (tmp_path / "kept" / "before.jsonl").read_text().splitlines()
    assert json.loads(first)["records"] == [{"name": "a"}]


def test_a_quick_run_leaves_the_reference_run_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[str] = []
    monkeypatch.setattr(stages, "python", lambda *words, **_: commands.append(" ".join(words)) or 0)
    for reference, folder in ((False, "reports/local"), (True, "reports")):
        commands.clear()
        steps = [
            Stage(name, getattr(stages, name.replace("-", "_")))
            for name in ("self-test", "properties", "benches")
        ]
        run_stages(steps, Settings(reference), tmp_path, told=lambda line: None)
        assert f"--emcheck-results={tmp_path / folder / 'data/properties.jsonl'}" in commands[1]
        assert f"--benchmark-json={tmp_path / folder / 'data/benchmarks.json'}" in commands[2]


def test_the_reference_run_has_contests_survey_and_trainings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them write to ``reports``; a training that is not reproduced fails the run."""
    commands: list[str] = []

    def command(*words: str, **_: object) -> int:
        commands.append(" ".join(words))
        return FAILED if "reproduce" in words else 0

    monkeypatch.setattr(stages, "python", command)
    steps = [Stage(name, getattr(stages, name)) for name in ("contests", "survey", "trainings")]
    settings = Settings(reference=True, workers=3)
    assert run_stages(steps, settings, tmp_path, told=lambda line: None) == FAILED
    assert commands == [
        f"emcheck compare --out={tmp_path / 'reports/data/contests.jsonl'}",
        f"emcheck survey --out={tmp_path / 'reports'}",
        *(
            f"emcheck density sweep --plan={plan} --workers=3"
            for plan in ("reference", "budget", "family")
        ),
        "emcheck density reproduce --workers=3",
    ]


@pytest.mark.parametrize("name", portion(["claims", "density", "survey", "contests"]))
def test_a_study_is_a_module_to_run(name: str) -> None:
    told = subprocess.run(
        [sys.executable, "-m", f"studies.{name}", "--help"],
        cwd=CHECKOUT["PYTHONPATH"], capture_output=True, text=True,
    )  # fmt: skip
    assert told.returncode == 0
    assert told.stdout.split()[1] == "emcheck"
