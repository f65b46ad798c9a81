"""``[tool.emcheck]`` and files of expected failures: what is understood, one line for the rest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from emcheck.config import configured, expected_of
from tests.documents import ROOT, Page

pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="TOML needs Python 3.11")

LAYER = """
import torch
from torch import nn


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor([0.3, -0.2]))

    def forward(self, x):
        return x * self.log_scale.exp(), self.log_scale.sum().expand(len(x))

    def inverse(self, z):
        return z * (-self.log_scale).exp(), self.log_scale.sum().expand(len(z))
"""

PROJECT = """
[[tool.emcheck.targets]]
target = "mine:Scale"
shape = [2]
examples = 1
only = ["inverse_logdet_matches_jacobian", "logdet_matches_jacobian"]

[tool.emcheck.targets.expected_failures]
inverse_logdet_matches_jacobian = "its sign is known"
"""


def written(folder: Path, project: str = PROJECT) -> Path:
    (folder / "mine.py").write_text(LAYER)
    (folder / "pyproject.toml").write_text(project)
    return folder


def test_a_target_has_its_options(tmp_path: Path) -> None:
    (job,) = configured(written(tmp_path))
    assert (job.target, job.shape, job.examples) == ("mine:Scale", (2,), 1)
    assert job.only == ("inverse_logdet_matches_jacobian", "logdet_matches_jacobian")
    assert job.expected == (("inverse_logdet_matches_jacobian", "its sign is known"),)


@pytest.mark.parametrize(
    ("project", "told"),
    [
        ("[tool.other]\n", "expected [[tool.emcheck.targets]], got none"),
        ("[tool.emcheck]\nshape = 3\n", "expected the key targets, got 'shape'"),
        ("[[tool.emcheck.targets]]\nshape = [3]\n", "expected the key target"),
        ('[[tool.emcheck.targets]]\ntarget = "a:b"\n', "expected the key shape"),
        (
            '[[tool.emcheck.targets]]\ntarget = "a:b"\nshape = [2]\nseeds = 3\n',
            "expected one of target, shape",
        ),
        (
            '[[tool.emcheck.targets]]\ntarget = "a:b"\nshape = "2"\n',
            "expected shape to be a list, got '2'",
        ),
        (
            '[[tool.emcheck.targets]]\ntarget = "a:b"\nshape = [2]\nseed = true\n',
            "expected seed to be a whole number, got True",
        ),
        ("[[tool.emcheck", "expected TOML"),
    ],
)
def test_a_wrong_entry_is_one_line(tmp_path: Path, project: str, told: str) -> None:
    with pytest.raises(ValueError) as raised:
        configured(written(tmp_path, project))
    assert told in str(raised.value)
    assert "pyproject.toml" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_expected_failures_are_read_by_target(tmp_path: Path) -> None:
    path = tmp_path / "expected.toml"
    path.write_text('[[expected]]\ntarget = "a:b"\ncheck = "empty_batch"\nreason = "why"\n')
    assert expected_of(path) == {"a:b": (("empty_batch", "why"),)}
    path.write_text('[[expected]]\ntarget = "a:b"\n')
    with pytest.raises(ValueError, match="entry 1: expected target, check and reason"):
        expected_of(path)
    with pytest.raises(ValueError, match="No such file"):
        expected_of(tmp_path / "nowhere.toml")


@pytest.mark.system
@pytest.mark.parametrize("words", [["-m", "emcheck", "check"], ["-m", "pytest", "--emcheck", "-q"]])
def test_the_targets_of_a_project_are_checked(tmp_path: Path, words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, *words], cwd=written(tmp_path), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "pyproject.toml").write_text(PROJECT.partition("[tool.emcheck.targets.exp")[0])
    again = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 1, again.stdout + again.stderr


PAGE = Page(ROOT / "docs" / "in-your-ci.md")

LIBRARY = """
import torch
from torch import nn


class Mixing(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.eye(4))

    def forward(self, x):
        logdet = x[0, 0].numel() * torch.linalg.slogdet(self.weight)[1]
        return torch.einsum("ij,bjhw->bihw", self.weight, x), logdet.expand(len(x))

    def inverse(self, z):
        logdet = z[0, 0].numel() * torch.linalg.slogdet(self.weight)[1]
        return torch.einsum("ij,bjhw->bihw", self.weight.inverse(), z), -logdet.expand(len(z))


class Conditional(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(3, 4)

    def forward(self, x, context):
        s = self.net(context).tanh()
        return x * s.exp(), s.sum(1)

    def inverse(self, z, context):
        return z * (-self.net(context).tanh()).exp()


def small():
    return torch.distributions.Independent(torch.distributions.Normal(torch.zeros(2), 1.0), 1)
"""


@pytest.mark.system
def test_the_workflow_of_the_page_works(tmp_path: Path) -> None:
    (tmp_path / "mylib").mkdir()
    (tmp_path / "mylib" / "__init__.py").touch()
    for name in ("layers", "flows"):
        (tmp_path / "mylib" / f"{name}.py").write_text(LIBRARY)
    project, known = (block.text for block in PAGE.blocks if block.language == "toml")
    (tmp_path / "pyproject.toml").write_text(project)
    assert len(configured(tmp_path)) == 3
    (tmp_path / "known.toml").write_text(known)
    assert expected_of(tmp_path / "known.toml").keys() == {"mylib.layers:Mixing"}
    (workflow,) = (yaml.safe_load(b.text) for b in PAGE.blocks if b.language == "yaml")
    steps = [step["run"] for step in workflow["jobs"]["emcheck"]["steps"] if "run" in step]
    (tmp_path / "pyproject.toml").write_text(
        project.replace("[tool.emcheck.targets.expected_failures]", "").replace(
            "empty_batch = ", "# "
        )
    )
    for step in steps[1:]:
        words = step.replace("${{ matrix.seed }}", "1").split()
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert {path.suffix for path in tmp_path.glob("emcheck.*")} == {".xml", ".sarif", ".html"}


def test_options_of_a_target_are_not_ignored_without_one(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "emcheck", "check", "--only", "logdets_cancel"],
        cwd=written(tmp_path), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "expected a target with --only" in done.stderr


@pytest.mark.system
def test_options_of_the_command_line(tmp_path: Path) -> None:
    words = ["check", "mine:Scale", "--shape", "2", "--examples", "1", "--dtype", "float64"]
    only = ["--only", "logdet_matches_jacobian", "--junit", "out.xml"]
    done = subprocess.run(
        [sys.executable, "-m", "emcheck", *words, *only],
        cwd=written(tmp_path), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (suite,) = ElementTree.parse(tmp_path / "out.xml").getroot()
    assert suite.attrib["tests"] == "1"
    matrix = subprocess.run(
        [sys.executable, "-m", "emcheck", *words, "--seeds", "2", "--junit", "out.xml"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert matrix.returncode == 2
    assert "expected one target and one shape with --junit" in matrix.stderr
