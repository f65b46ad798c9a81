"""``docs/adding-a-layer.md`` and ``docs/adding-a-check.md``, followed to the letter in a copy."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import ROOT, Page

#: What is tested of an addition beside its own properties.
_REGISTRIES = ("tests/test_registry.py", "tests/test_catalogue.py")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The checkout without its reports."""
    for name in ("emcheck", "studies", "benches", "properties", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def passed(copy: Path, selected: str) -> int:
    """How many tests of the copy pass; all those that are selected have to."""
    words = ["pytest", "properties", *_REGISTRIES, "-k", selected, "--hypothesis-profile=dev"]
    done = subprocess.run(
        [sys.executable, "-m", *words, "-q", "-n0", "--no-self-test", "-p", "no:cacheprovider"],
        cwd=copy, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    (count,) = re.findall(r"(\d+) passed", done.stdout)
    return int(count)


@pytest.mark.system
def test_a_layer_is_two_files_and_one_line(copy: Path) -> None:
    layer, spec, line, *_ = Page(ROOT / "docs" / "adding-a-layer.md").python
    (copy / "emcheck" / "layers" / "bidiagonal.py").write_text(layer.text)
    (copy / "emcheck" / "specs" / "bidiagonal.py").write_text(spec.text)
    with (copy / "emcheck" / "layers" / "__init__.py").open("a") as exports:
        exports.write(line.text)
    assert passed(copy, "Bidiagonal1x1 or registered or registry or spec") > 50


@pytest.mark.system
def test_a_check_is_a_function_and_its_fault(copy: Path) -> None:
    check, fault, *_ = Page(ROOT / "docs" / "adding-a-check.md").python
    for package, block in (("checks", check), ("faults", fault)):
        with (copy / "emcheck" / package / "structure.py").open("a") as family:
            family.write("\n\n" + block.text)
    assert passed(copy, "inverse_is_affine or data_clipped or registered or registry") > 10
