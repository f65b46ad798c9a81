"""The plugin and ``parametrize_with_checks``, as a stranger uses them: in an empty folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import emcheck
from emcheck.checks import CHECKS
from emcheck.kit.pytest_checks import LayerCheck
from emcheck.layers import Conv1x1
from tests.hidden import Hidden

LAYERS = """
import torch
from torch import nn


class Scale(nn.Module):
    def __init__(self, factor=1.0):
        super().__init__()
        self.factor, self.log_scale = factor, nn.Parameter(torch.zeros(2))

    def forward(self, x):
        logdet = self.factor * self.log_scale.sum()
        return x * self.log_scale.exp(), logdet.expand(len(x))

    def inverse(self, z):
        logdet = -self.factor * self.log_scale.sum()
        return z * (-self.log_scale).exp(), logdet.expand(len(z))


def wrong():
    return Scale(2.0)
"""

TESTS = """
import emcheck
import mine


@emcheck.parametrize_with_checks(
    [(mine.Scale, (2,)), (mine.wrong, (2,), {"expected_failures": EXPECTED})]
)
def test_layer(layer, check):
    check(layer)
"""

BOTH = '{"logdet_matches_jacobian": "doubled", "inverse_logdet_matches_jacobian": "doubled"}'


def _pytest(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    (folder / "mine.py").write_text(LAYERS, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=folder)


@pytest.mark.system
def test_a_target_needs_no_test_file(tmp_path: Path) -> None:
    options = ("--emcheck-target=mine:Scale", "--emcheck-shape=2")
    done = _pytest(tmp_path, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    assert "failed" not in done.stdout


@pytest.mark.system
def test_a_wrong_target_fails_with_numbers_and_cause(tmp_path: Path) -> None:
    done = _pytest(tmp_path, "--emcheck-target=mine:wrong", "--emcheck-shape=2")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "2 failed" in done.stdout
    assert "most likely:" in done.stdout
    assert "emcheck.reproduce(layer" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.system
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--emcheck-target=mine:Scale",), "expected one --emcheck-shape"),
        (("--emcheck-target=mine:Scale", "--emcheck-shape=two"), "expected a shape like 4,8,6"),
        (("--emcheck-target=mine:none", "--emcheck-shape=2"), "found nothing of that name"),
        (("--emcheck-target=nowhere:none", "--emcheck-shape=2"), "cannot import nowhere"),
        (("--emcheck-target=nowhere:none", "--emcheck-shape=2", "-n1"), "cannot import nowhere"),
    ],
)
def test_mistakes_are_usage_errors(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    done = _pytest(tmp_path, *words)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR, done.stdout + done.stderr
    assert told in done.stderr


@pytest.mark.system
def test_expected_failures_are_xfailed_with_their_reason(tmp_path: Path) -> None:
    source = TESTS.replace("EXPECTED", BOTH)
    (tmp_path / "test_mine.py").write_text(source, encoding="utf-8")
    done = _pytest(tmp_path, "-rx")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 xfailed" in done.stdout
    assert "expected: doubled" in done.stdout


@pytest.mark.system
def test_an_unexpected_pass_fails_and_an_unknown_name_is_an_error(tmp_path: Path) -> None:
    source = TESTS.replace("EXPECTED", BOTH.replace("}", ', "calls_are_pure": "never"}'))
    (tmp_path / "test_mine.py").write_text(source, encoding="utf-8")
    done = _pytest(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed" in done.stdout
    assert "passed, although a failure was expected: never" in done.stdout
    source = TESTS.replace("EXPECTED", '{"no_such_check": "reason"}')
    (tmp_path / "test_mine.py").write_text(source, encoding="utf-8")
    done = _pytest(tmp_path)
    assert done.returncode == pytest.ExitCode.INTERRUPTED, done.stdout + done.stderr
    assert "expected the name of a check (emcheck list), got 'no_such_check'" in done.stdout


def conv() -> Conv1x1:
    return Conv1x1(2)


@emcheck.parametrize_with_checks([(conv, (2, 3, 2))])
def test_this_projects_layer(layer: object, check: object) -> None:
    assert callable(check)
    check(layer)


class Doubled(Conv1x1):
    """A log-det that is twice the right one."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        z, logdet = super().forward(x)
        return z, 2 * logdet


def _check_of(mark: pytest.MarkDecorator, name: str) -> Any:
    return next(p.values[1] for p in mark.args[1] if p.values[1].check.name == name)


def test_a_check_judges_the_layer_that_it_is_given() -> None:
    mark = emcheck.parametrize_with_checks([(conv, (2, 3, 2))], examples=2)
    check = _check_of(mark, "logdet_matches_jacobian")
    check(conv)
    check(Conv1x1(2))
    with pytest.raises(AssertionError, match=r"(?s)Doubled on \(2, 3, 2\).*error / bound"):
        check(Doubled(2))
    with pytest.raises(ValueError, match="expected a shape that Conv1x1 accepts"):
        check(Conv1x1(3))


def test_another_layer_is_judged_with_the_options_of_the_target() -> None:
    accepted = {"logdet_matches_jacobian": "doubled"}
    mark = emcheck.parametrize_with_checks(
        [(lambda: Doubled(2), (2, 3, 2))], expected_failures=accepted, examples=2
    )
    with pytest.raises(pytest.xfail.Exception, match="doubled"):
        _check_of(mark, "logdet_matches_jacobian")(Doubled(2))


def test_a_check_that_does_not_apply_to_another_layer_is_skipped() -> None:
    check = _check_of(emcheck.parametrize_with_checks([(conv, (2, 3, 2))]), "empty_batch")
    name = "forward_matches_definition"
    with pytest.raises(pytest.skip.Exception, match=f"{name} does not apply to Hidden"):
        LayerCheck(check.checker, CHECKS[name], conv)(Hidden(conv()))


def test_ids_come_from_parameters() -> None:
    mark = emcheck.parametrize_with_checks([(conv, (2, 3, 2)), (conv, (2, 2, 2))])
    ids = [parameter.id for parameter in mark.args[1]]
    assert "Conv1x1-2x3x2-logdet_matches_jacobian" in ids
    assert len(set(ids)) == len(ids)
    assert len(ids) <= 2 * len(CHECKS)


@pytest.mark.parametrize("targets", [[], [conv], [(conv,)]])
def test_targets_are_pairs(targets: list[object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        emcheck.parametrize_with_checks(targets)  # type: ignore[arg-type]


@pytest.mark.system
def test_an_id_can_be_given_back(tmp_path: Path) -> None:
    words = ["pytest", "--emcheck-target=mine:make", "--emcheck-shape=3,2,2", "-v"]
    (tmp_path / "mine.py").write_text(
        "from emcheck.layers import Conv1x1\ndef make():\n    return Conv1x1(3)\n"
    )
    ids = ["Conv1x1-3x2x2-logdets_cancel", "::Conv1x1-3x2x2-state_dict_restores"]
    done = subprocess.run(
        [sys.executable, "-m", *words, *ids], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    assert all(name.removeprefix("::") in done.stdout for name in ids)
