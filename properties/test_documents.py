"""What is written for people is run: docstrings and the README's Python blocks."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import emcheck.flows
import emcheck.layers
from emcheck.registry import REGISTRY

README = Path(__file__).parent.parent / "README.md"
MODULES = [
    f"{package.__name__}.{module.name}"
    for package in (emcheck.layers, emcheck.flows)
    for module in pkgutil.iter_modules(package.__path__)
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("name", REGISTRY)
def test_every_layer_has_an_example_and_the_sections(name: str) -> None:
    text = REGISTRY[name].__doc__ or ""
    for section in (">>> ", "Log-det:", "Cost:", "Reference:", "Args:", "Raises:", "arXiv"):
        assert section in text, f"{name} has no {section!r} in its docstring"


def _blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_python_of_the_readme_runs() -> None:
    blocks = _blocks()
    assert blocks
    namespace: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), namespace)


def test_readme_has_exactly_two_install_lines() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    assert sum(line.startswith("python3 -m venv") for line in lines) == 2
