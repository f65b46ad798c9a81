"""Files and functions stay short enough to be read at once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from emcheck._internal.checkout import needed

ROOT = needed("this test")

#: Lines of a file, and of a function without its docstring.
MOST_LINES, MOST_OF_A_FUNCTION = 250, 60

#: Numba and Triton compile one function as a whole: a kernel is as long as its loop nest.
KERNELS = ROOT / "emcheck" / "solve"

#: Every numeric tolerance stands in one file, with its derivation.
ALL_TOLERANCES = ROOT / "emcheck" / "bounds.py"

SOURCES = sorted(
    path
    for folder in ("emcheck", "studies", "benches")
    for path in (ROOT / folder).rglob("*.py")
    if KERNELS not in path.parents
)


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the name and the lines of every function, without those of its docstring."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            lines = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node) is not None:
                first = node.body[0]
                assert first.end_lineno is not None
                lines -= first.end_lineno - first.lineno + 1
            yield node.name, lines


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_and_its_functions_are_short(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MOST_LINES or path == ALL_TOLERANCES
    assert [found for found in functions(path) if found[1] > MOST_OF_A_FUNCTION] == []


def test_a_long_function_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "long.py"
    body = "".join(f"    x = {n}\n" for n in range(60))
    path.write_text(f'def f():\n    """Two\n    lines."""\n{body}')
    assert list(functions(path)) == [("f", 61)]
