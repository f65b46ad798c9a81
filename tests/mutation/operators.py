"""What is changed: one node of a module's syntax tree, and how."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

#: A change: what takes the node's place.
Change = Iterator[ast.AST]

_OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.LtE: ast.Gt,
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_BOUNDARY: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.LtE: ast.Lt,
    ast.Lt: ast.LtE,
    ast.GtE: ast.Gt,
    ast.Gt: ast.GtE,
}
_SWAPPED = {
    **{"max": "min", "min": "max", "amax": "amin", "amin": "amax"},
    **{"maximum": "minimum", "minimum": "maximum", "all": "any", "any": "all"},
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
}
_ARRAYS = ("np", "torch")


def comparison(node: ast.AST) -> Change:
    """A comparison turned into its opposite, or its boundary moved."""
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            for table in (_OPPOSITE, _BOUNDARY):
                if type(operator) in table:
                    ops = [*node.ops[:place], table[type(operator)](), *node.ops[place + 1 :]]
                    yield ast.Compare(node.left, ops, node.comparators)


def connective(node: ast.AST) -> Change:
    """``and`` for ``or`` and the other way round; ``not`` dropped."""
    if isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.And() if isinstance(node.op, ast.Or) else ast.Or(), node.values)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand


def reduction(node: ast.AST) -> Change:
    """``max`` for ``min``, ``all`` for ``any``, as functions and as methods, and back."""
    if not isinstance(node, ast.Call):
        return
    f = node.func
    if isinstance(f, ast.Name) and f.id in _SWAPPED:
        yield ast.Call(ast.Name(_SWAPPED[f.id], ast.Load()), node.args, node.keywords)
    elif isinstance(f, ast.Attribute) and f.attr in _SWAPPED:
        swapped = ast.Attribute(f.value, _SWAPPED[f.attr], ast.Load())
        yield ast.Call(swapped, node.args, node.keywords)


def absolute_value(node: ast.AST) -> Change:
    """``abs(x)``, ``np.abs(x)`` and ``x.abs()`` become ``x``."""
    if not isinstance(node, ast.Call):
        return
    f = node.func
    if isinstance(f, ast.Name) and f.id == "abs":
        yield node.args[0]
    elif isinstance(f, ast.Attribute) and f.attr == "abs":
        library = isinstance(f.value, ast.Name) and f.value.id in _ARRAYS
        yield node.args[0] if library else f.value


def part(node: ast.AST) -> Change:
    """One part of a judgement dropped: an argument of ``worst``, an ``append``, a refusal."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        f = node.value.func
        if isinstance(f, ast.Attribute) and f.attr == "append":
            yield ast.Pass()
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return
    if node.func.id == "yes" and ast.unparse(node) != "yes(True)":
        yield ast.Call(node.func, [ast.Constant(True)], [])
    if node.func.id != "worst":
        return
    if len(node.args) > 1:
        for place in range(len(node.args)):
            yield ast.Call(node.func, [*node.args[:place], *node.args[place + 1 :]], [])
    elif isinstance(node.args[0], ast.Starred):
        for kept in ("[:1]", "[1:]"):
            listed = f"worst(*[*{ast.unparse(node.args[0].value)}]{kept})"
            yield ast.parse(listed, mode="eval").body


def arithmetic(node: ast.AST) -> Change:
    """``+`` for ``-``, ``*`` for ``/``, and back."""
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        yield ast.BinOp(node.left, _ARITHMETIC[type(node.op)](), node.right)


def magnitude(node: ast.AST) -> Change:
    """A number ten times as large or as small; 1 for 0. For the values of named constants."""
    if isinstance(node, ast.Constant) and node.value == 0:
        yield ast.Constant(1.0)
        return
    for operator in (ast.Mult(), ast.Div()):
        yield ast.BinOp(node, operator, ast.Constant(10))  # type: ignore[arg-type]


#: Those that apply in any module, and arithmetic, which is for bounds alone.
EVERYWHERE: tuple[Callable[[ast.AST], Change], ...] = (
    comparison,
    connective,
    reduction,
    absolute_value,
    part,
)
