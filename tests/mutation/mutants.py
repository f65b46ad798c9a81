"""All mutants of a module, named by what they change and not by where it stands."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

from tests.mutation import operators

ROOT = Path(__file__).parents[2]

#: What is mutated; the arithmetic and the constants of the first only.
BOUNDS = "emcheck.bounds"
CHECKS = ROOT / "emcheck" / "checks"


def modules() -> list[str]:
    """``emcheck.bounds`` and every module of ``emcheck.checks``."""
    names = [path.stem for path in sorted(CHECKS.glob("*.py")) if path.stem != "__init__"]
    return [BOUNDS, *(f"emcheck.checks.{name}" for name in names)]


def path_of(module: str) -> Path:
    return ROOT.joinpath(*module.split(".")).with_suffix(".py")


@dataclass(frozen=True)
class Place:
    """Where a node hangs in its tree, and what surrounds it: function and statement."""

    node: ast.AST
    parent: ast.AST
    field: str
    index: int | None
    function: str
    lines: range
    on_import: bool

    def put(self, node: ast.AST) -> None:
        """Let another node take this place."""
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


@dataclass(frozen=True)
class Mutant:
    """One changed node of one module.

    ``key`` holds the module, the function, the source before and after, and a number where
    that is not unique: it survives lines that move.
    """

    key: str
    module: str
    function: str
    before: str
    after: str
    line: int
    lines: range
    tree: ast.Module
    place: Place
    changed: ast.AST

    def compile(self) -> CodeType:
        """The code of the mutated module; the tree is as it was afterwards."""
        self.place.put(ast.copy_location(self.changed, self.place.node))
        try:
            ast.fix_missing_locations(self.tree)
            return compile(self.tree, str(path_of(self.module)), "exec")
        finally:
            self.place.put(self.place.node)


def mutants(module: str, source: str | None = None) -> list[Mutant]:
    """Every mutant of a module, in the order of its source.

    Args:
        module: its dotted name.
        source: its text; read from its file if None.
    """
    text = path_of(module).read_text(encoding="utf-8") if source is None else source
    tree = ast.parse(text)
    found: list[Mutant] = []
    used: Counter[str] = Counter()
    for place, changed in _changes(tree, bounds=module == BOUNDS):
        before, after = _shown(place, place.node), _shown(place, changed)
        key = f"{module}:{place.function}: {before} -> {after}"
        used[key] += 1
        if used[key] > 1:
            key += f" #{used[key]}"
        line = getattr(place.node, "lineno", place.lines.start)
        where = (module, place.function, before, after, line, place.lines)
        found.append(Mutant(key, *where, tree, place, changed))
    return found


def _shown(place: Place, node: ast.AST) -> str:
    """The source of a node; the value of a dictionary is shown behind its key."""
    text = " ".join(ast.unparse(node).split())
    if isinstance(place.parent, ast.Dict) and place.index is not None:
        return f"{ast.unparse(place.parent.keys[place.index] or place.node)}: {text}"
    return text


def _changes(tree: ast.Module, bounds: bool) -> Iterator[tuple[Place, ast.AST]]:
    constants = set(_named_constants(tree)) if bounds else set()
    applied = (*operators.EVERYWHERE, operators.arithmetic) if bounds else operators.EVERYWHERE
    for place in _places(tree, "", range(0), True):
        changes = (operators.magnitude,) if place.node in constants else applied
        for change in changes:
            for node in change(place.node):
                yield place, node


def _named_constants(tree: ast.Module) -> Iterator[ast.AST]:
    """The numbers that stand behind the capital names of a module."""
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]).isupper():
            value = statement.value
            if isinstance(value, ast.Dict):
                yield from value.values
            elif isinstance(value, ast.Tuple):
                yield from value.elts
            else:
                yield value


#: Nodes with names and types, where nothing is computed.
_SKIPPED_FIELDS = {"decorator_list", "annotation", "returns", "ctx"}

#: What cannot be false, and the text of messages.
_SKIPPED = (ast.Assert, ast.JoinedStr)


def _places(node: ast.AST, function: str, lines: range, on_import: bool) -> Iterator[Place]:
    """Every node below ``node`` with its place, outside asserts, messages and annotations."""
    for field, value in ast.iter_fields(node):
        if field in _SKIPPED_FIELDS:
            continue
        for index, child in enumerate(value if isinstance(value, list) else [value]):
            if not isinstance(child, ast.AST) or isinstance(child, _SKIPPED):
                continue
            inside = lines
            if isinstance(child, ast.stmt):
                inside = range(child.lineno, _end_of_head(child) + 1)
            at = index if isinstance(value, list) else None
            yield Place(child, node, field, at, function or "module", inside, on_import)
            later = on_import and not isinstance(child, (ast.FunctionDef, ast.Lambda))
            yield from _places(child, _name(child, function), inside, later)


def _name(node: ast.AST, function: str) -> str:
    """The qualified name of what a node defines, or that of what it stands in."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return f"{function}.{node.name}".lstrip(".")
    if isinstance(node, ast.Assign) and not function:
        return ast.unparse(node.targets[0])
    return function


def _end_of_head(statement: ast.stmt) -> int:
    """The last line of a statement without the block below it."""
    body = getattr(statement, "body", None)
    if isinstance(body, list) and body:
        return max(statement.lineno, int(body[0].lineno) - 1)
    return statement.end_lineno or statement.lineno
