"""Layers, checks and faults by name with their first line, read from the source without running it.

Loading them takes seconds, because of torch, which a list of names does not need.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from emcheck._internal.words import snake_case

_HERE = Path(__file__).parents[1]

#: Name and summary of each entry, in the order in which packages import their modules.
Entries = list[tuple[str, str]]


def layers() -> Entries:
    """Return the exported layers that have a spec, as in :data:`emcheck.specs.REGISTRY`."""
    specs = "".join(path.read_text(encoding="utf-8") for path in (_HERE / "specs").glob("*.py"))
    known = set(re.findall(r"^SPECS\[(\w+)\] =", specs, flags=re.MULTILINE))
    found = []
    for package in ("layers", "flows"):
        for module, name in _imports(package):
            if name in known:
                found += [(n, text) for n, text, _ in _definitions(module) if n == name]
    return found


def checks() -> Entries:
    """Return the checks, as in :data:`emcheck.checks.CHECKS`."""
    return [(name, text) for name, text in _registered("checks", "check")]


def faults() -> Entries:
    """Return the seeded faults, as in :data:`emcheck.faults.FAULTS`."""
    return [(snake_case(name), text) for name, text in _registered("faults", "fault")]


def _registered(package: str, decorator: str) -> Entries:
    """Return what a decorator registers, in the order in which the package imports its modules."""
    modules = dict.fromkeys(
        f"{module}.{name}" if module == f"emcheck.{package}" else module
        for module, name in _imports(package)
    )
    return [
        (name, text)
        for module in modules
        for name, text, decorators in _definitions(module)
        if decorator in decorators
    ]


def _imports(package: str) -> Iterator[tuple[str, str]]:
    """Yield module and name of every ``from module import name`` in a package's ``__init__``."""
    for node in _tree(_HERE / package / "__init__.py").body:
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from ((node.module, alias.name) for alias in node.names)


def _definitions(module: str) -> Iterator[tuple[str, str, set[str]]]:
    """Yield classes and functions of a module: name, first docstring line, decorators called."""
    for node in _tree(_HERE.parent.joinpath(*module.split(".")).with_suffix(".py")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            calls = [one for one in node.decorator_list if isinstance(one, ast.Call)]
            called = {one.func.id for one in calls if isinstance(one.func, ast.Name)}
            yield node.name, (ast.get_docstring(node) or "").partition("\n")[0], called


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))
