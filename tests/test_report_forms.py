"""A report in other forms: page, notebook, picture, JUnit, SARIF, JSON, and on the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from emcheck import Report, check_layer
from emcheck.cli.reproduce import in_shell
from emcheck.isolated import Job
from emcheck.report.junit import junit_of
from emcheck.report.provenance import provenance
from emcheck.report.sarif import sarif_of

SOURCE = '''"""A module of a user."""

import torch


class Scale(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.log_scale = torch.nn.Parameter(torch.zeros(3))

    def forward(self, x):
        return x * self.log_scale.exp(), 2 * self.log_scale.sum().expand(len(x))

    def inverse(self, z):
        return z * (-self.log_scale).exp(), -self.log_scale.sum().expand(len(z))


cold = Scale()
'''


class Scale(nn.Module):
    """``<b>`` in a name must not become markup."""

    def __init__(self, wrong: float = 1.0) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(3))
        self.wrong = wrong

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logdet = self.wrong * self.log_scale.sum()
        return x * self.log_scale.exp(), logdet.expand(len(x))

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z * (-self.log_scale).exp(), -self.log_scale.sum().expand(len(z))


Scale.__name__ = "Scale<b>"


@pytest.fixture(scope="module")
def wrong() -> Report:
    return check_layer(Scale(2.0), (3,), examples=2)


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("br", "meta", "hr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_a_page_says_what_the_terminal_says(wrong: Report) -> None:
    page = _Text()
    page.feed(wrong.to_html())
    assert page.open == []
    told = "".join(page.text)
    for line in str(wrong).splitlines():
        assert " ".join(line.split()) in " ".join(told.split()), line
    for result in wrong.results:
        assert result.check in told
    assert "b" not in page.tags[5:7], "a name became markup"
    assert "http" not in wrong.to_html()


def test_a_notebook_shows_findings_open_and_results_folded(wrong: Report) -> None:
    shown = wrong._repr_html_()
    assert shown.count("<details open>") == len(wrong._findings) > 0
    assert f"<summary>all {len(wrong.results)} results</summary>" in shown
    assert repr(wrong).startswith("<Report Scale<b> on (3,), seed 0: NOT OK; ")
    assert len(repr(wrong)) < 120
    assert repr(wrong.failures[0]).startswith("<Result logdet_matches_jacobian [float32] of Scale")


def test_a_picture_shows_every_ratio_and_every_failure(wrong: Report) -> None:
    figure = wrong.plot()
    (axes,) = figure.axes
    shown = {label.get_text() for label in axes.get_yticklabels()}
    assert {failure.check for failure in wrong.failures} <= shown
    assert {r.check for r in wrong.results if r.threshold > 0 and r.ratio == r.ratio} <= shown
    red = [line for line in axes.lines if line.get_markerfacecolor() == "tab:red"]
    assert len(red) == len(wrong.failures)
    assert all(float(line.get_xdata()[0]) > 1 for line in red)


def test_sarif_names_the_line_that_defines_a_layer(wrong: Report, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SOURCE)
    targets = ("mine:Scale", "mine:cold", "elsewhere:Scale", "json:loads")
    content = json.loads(sarif_of([wrong] * 4, targets, tmp_path))
    assert content["version"] == "2.1.0"
    (run,) = content["runs"]
    count = len(wrong.failures)
    places = [result.get("locations") for result in run["results"]]
    lines = [p and p[0]["physicalLocation"]["region"]["startLine"] for p in places]
    assert lines == [6] * count + [18] * count + [None] * 2 * count
    rules = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    assert rules == {failure.check for failure in wrong.failures}
    assert run["results"][0]["level"] == "error"
    assert "most likely: " in run["results"][0]["message"]["text"]


def test_json_says_what_it_was_made_with_only_when_asked(wrong: Report) -> None:
    plain, made = json.loads(wrong.to_json()), json.loads(wrong.to_json(provenance()))
    assert made.pop("made_with").keys() == {"emcheck", "python", "torch", "numpy", "scipy", "date"}
    assert made == plain
    assert junit_of([wrong]).count(b"<failure") == len(wrong.failures)


def test_a_report_prints_the_command_that_repeats_a_failure(wrong: Report) -> None:
    job = Job("mine:Scale", (3,), context=(2, 3), lacks=("inverse",))
    commands = [result.reproduce for result in in_shell(wrong, job).failures]
    start = "emcheck reproduce mine:Scale logdet_matches_jacobian '("
    assert commands[0].startswith(start)
    assert commands[0].endswith("' --context 2,3 --lacks inverse")


def _emcheck(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "emcheck", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.mark.system
def test_a_printed_command_repeats_the_failure(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SOURCE)
    files = ("--sarif", "r.sarif", "--html", "r.html", "--junit", "r.xml", "--json", "r.json")
    done = _emcheck(tmp_path, "check", "mine:Scale", "--shape", "3", "--examples", "1", *files)
    assert done.returncode == 1, done.stderr
    for name in files[1::2]:
        assert "logdet_matches_jacobian" in (tmp_path / name).read_text()
    line = next(one for one in done.stdout.splitlines() if "emcheck reproduce" in one)
    again = subprocess.run(
        f"{sys.executable} -m {line.strip()}", shell=True, cwd=tmp_path, capture_output=True,
        text=True,
    )  # fmt: skip
    assert again.returncode == 1, again.stderr
    assert "FAIL            logdet_matches_jacobian" in again.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("mine:Scale", "nothing", "(1, 3) float32 initial seed=0"), "expected a check"),
        (("mine:Scale", "logdets_cancel", "(1, 3)"), "expected a case like"),
        (("nowhere:Scale", "logdets_cancel", "(1, 3) float32 initial seed=0"), "nowhere"),
    ],
)
def test_mistakes_of_reproduce_are_one_line(
    words: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(SOURCE)
    done = _emcheck(tmp_path, "reproduce", *words)
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_shell_completes_checks_and_layers(tmp_path: Path) -> None:
    environment = {"_EMCHECK_COMPLETE": "complete_bash", "COMP_CWORD": "3",
                   "COMP_WORDS": "emcheck check --only logdets_"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "emcheck"], env={**environment, "PATH": ""},
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.split() == ["logdets_cancel"], done.stderr
