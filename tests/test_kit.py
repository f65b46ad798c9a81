"""``check_layer`` and the command line, as a stranger uses them."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import emcheck
from emcheck.checks import Case, Subject
from emcheck.cli.main import main
from emcheck.layers import (
    AffineCoupling2d,
    AutoregressiveConv2d,
    Conv1x1,
    Conv1x1QR,
    EmergingConv2d,
    PeriodicConv2d,
    Squeeze2d,
)
from tests.hidden import Hidden


class MissingWidth(nn.Module):
    """A 1x1 convolution whose log-det forgets the factor W."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = torch.einsum("oc,bchw->bohw", self.weight, x)
        return z, self.logdet(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.einsum("oc,bchw->bohw", torch.linalg.inv(self.weight), z)
        return x, -self.logdet(z)

    def logdet(self, x: Tensor) -> Tensor:
        return (x.shape[2] * torch.linalg.slogdet(self.weight)[1]).expand(len(x))


def good_layer() -> nn.Module:
    return Conv1x1QR(3, generator=torch.Generator().manual_seed(0))


def test_correct_layers_are_ok() -> None:
    flow = emcheck.Chain(Squeeze2d(), Conv1x1(4), AffineCoupling2d(4, 8))
    for layer, shape in ((EmergingConv2d(2), (2, 4, 3)), (flow, (1, 4, 6))):
        report = emcheck.check_layer(layer, shape)
        assert report.ok, str(report)
        assert not report.failures
        assert isinstance(report.to_frame(), pd.DataFrame)
        assert len(report.to_frame()) == len(report.results) > 40


def test_a_wrong_logdet_is_named_and_the_layer_left_alone() -> None:
    layer = MissingWidth()
    before = layer.weight.detach().clone()
    report = emcheck.check_layer(layer, (3, 4, 5))
    assert torch.equal(layer.weight, before)
    assert not report.ok
    names = {failure.check for failure in report.failures}
    assert names == {"logdet_matches_jacobian", "inverse_logdet_matches_jacobian"}
    assert "expected" in str(report)
    assert "seed" in str(report)


@pytest.mark.parametrize("layer", [Conv1x1QR, PeriodicConv2d, AutoregressiveConv2d, Conv1x1])
def test_no_false_alarm_on_correct_layers_of_unknown_make(layer: type[nn.Module]) -> None:
    hidden = Hidden(layer(2, generator=torch.Generator().manual_seed(1)))
    report = emcheck.check_layer(hidden, (2, 4, 3), seed=1)
    assert report.ok, str(report)


class WrongForRaster(AutoregressiveConv2d):
    """Right with the constructor's defaults, in both directions wrong with another mask."""

    def log_det(self, x: Tensor) -> Tensor:
        return super().log_det(x) * (2 if self.mask == "raster" else 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward(x)[0], self.log_det(x)


def test_a_layer_is_checked_with_its_own_options() -> None:
    """Not a new one with the defaults of its class."""
    layer = WrongForRaster(2, 5, "raster", True, generator=torch.Generator().manual_seed(0))
    report = emcheck.check_layer(layer, (2, 3, 4), dtypes=(torch.float64,), examples=2)
    assert {"logdet_matches_jacobian", "logdet_matches_definition"} <= {
        failure.check for failure in report.failures
    }
    for result in report.results:
        assert "kernel_size=5 mask=raster reverse=True dilation=1" in result.case
    subject = Subject.of_layer(layer)
    assert torch.equal(subject.build(Case((2, 3, 4))).weight, layer.weight)


def test_same_seed_same_report() -> None:
    reports = [emcheck.check_layer(Conv1x1(2), (2, 3, 2), seed=5) for _ in range(2)]
    results = [[(r.check, r.verdict) for r in report.results] for report in reports]
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (Conv1x1, (2, 3, 3), "call it first"),
        (nn.Linear(2, 2), (2, 3, 3), "expected a module with forward and inverse"),
        (good_layer(), (2, 3), "expected a shape"),
        (good_layer(), (2, 3, 0), "expected shape"),
    ],
)
def test_mistakes_are_one_line(layer: nn.Module, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        emcheck.check_layer(layer, shape)
    assert "\n" not in str(caught.value)


def _emcheck(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "emcheck", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=cwd)


def test_check_command_says_ok_and_writes_json(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    source = "from emcheck.layers import ActNorm2d\ndef make():\n    return ActNorm2d(2)\n"
    (tmp_path / "mine.py").write_text(source, encoding="utf-8")
    done = _emcheck("check", "mine:make", "--shape", "2,3,2", "--json", str(target), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert len(json.loads(target.read_text(encoding="utf-8"))["results"]) > 40


@pytest.mark.system
def test_check_command_fails_with_one() -> None:
    bad = _emcheck("check", "tests.test_kit:MissingWidth", "--shape", "3,4,5")
    assert bad.returncode == 1, bad.stdout + bad.stderr
    assert "logdet_matches_jacobian" in bad.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("check", "nonsense", "--shape", "1,2,3"), "expected module:factory"),
        (("check", "no.such.module:f", "--shape", "1,2,3"), "cannot import no.such.module"),
        (("check", "emcheck.layers:Conv1x1", "--shape", "1,2,3"), "call it first (TypeError"),
        (("check", "tests.test_kit:good_layer", "--shape", "three"), "expected a shape like"),
        (("check", "tests.test_kit:good_layer"), "expected --shape"),
        (("check", "tests.test_kit:good_layer", "--shape", "2,4,4"), "(B, 3, H, W)"),
        (("bench", "--profile", "huge"), "one of quick, full, got 'huge'"),
        (("bench", "--threads", "-1"), "0 or more, got -1"),
        (("properties", "--profile", "huge"), "one of dev, ci, reference, deep, got 'huge'"),
        (("run", "--bench-profile", "huge"), "one of quick, full, got 'huge'"),
        (("bench", "--threads", "many"), "Invalid value for '--threads'"),
        (("invert",), "No such command 'invert'"),
        (("report", "no-such-file.json"), "got no such file"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line(
    words: tuple[str, ...],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["emcheck", *words])
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(SystemExit) as stopped:
        main()
    shown = capsys.readouterr()
    assert stopped.value.code == 2
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert told in shown.err


def test_modules_of_the_user_may_be_named_like_ours(tmp_path: Path) -> None:
    (tmp_path / "studies.py").write_text("raise SystemExit(7)\n")
    done = _emcheck("run", "--profile=huge", cwd=tmp_path)
    assert done.returncode == 2
    assert "expected --profile to be one of" in done.stderr


def test_list_names_every_layer() -> None:
    done = _emcheck("list")
    assert done.returncode == 0, done.stderr
    assert "EmergingConv2d" in done.stdout
    assert "logdet_matches_jacobian" in done.stdout


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: AutoregressiveConv2d(2, kernel_size=4), "odd kernel_size, got 4"),
        (lambda: AutoregressiveConv2d(2, mask="round"), "expected mask"),  # type: ignore[arg-type]
        (lambda: AutoregressiveConv2d(0), "channels"),
        (lambda: AutoregressiveConv2d(2, dilation=0), "dilation"),
        (lambda: AffineCoupling2d(1), ">= 2, got 1"),
        (lambda: Squeeze2d(0), "factor"),
        (lambda: emcheck.Chain(), "at least one layer"),
        (lambda: emcheck.Inverse(nn.Linear(2, 2)), "inverse"),
    ],
)
def test_constructors_name_what_is_wrong(build: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()  # type: ignore[operator]


def test_sizes_that_squeeze_cannot_divide_are_named() -> None:
    with pytest.raises(ValueError, match="multiples of 2, got"):
        Squeeze2d()(torch.ones(1, 1, 3, 4))
    with pytest.raises(ValueError, match="multiple of 4, got"):
        Squeeze2d().inverse(torch.ones(1, 3, 2, 2))


def test_zero_reflection_vector_is_named() -> None:
    layer = Conv1x1QR(3)
    with torch.no_grad():
        layer.vectors[1] = 0
    with pytest.raises(ValueError, match="Householder vector, got 0 at index"):
        layer(torch.ones(1, 3, 2, 2))


def test_importing_touches_no_random_state() -> None:
    code = (
        "import torch; s = torch.get_rng_state(); t = torch.get_num_threads(); import emcheck;"
        "assert torch.equal(s, torch.get_rng_state()) and t == torch.get_num_threads()"
    )
    with warnings.catch_warnings():
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
