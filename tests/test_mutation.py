"""The mutation testing itself: what is changed, how a fork runs it, and that its list is true."""

from __future__ import annotations

import ast
import importlib
import os
import sys
import time

import pytest

from tests.mutation.equivalent import EQUIVALENT
from tests.mutation.forks import NoAnswer, Task, in_forks
from tests.mutation.mutants import BOUNDS, Mutant, modules, mutants
from tests.mutation.oracle import judge
from tests.mutation.probes import Lines, Probe, run_tests

CHECK = "emcheck.checks.example"

#: Source of a function and what its mutants are.
CHANGES = [
    ("f = lambda a, b: a <= b", {"a > b", "a < b"}),
    ("f = lambda a, b: a != b", {"a == b"}),
    ("f = lambda a: a is not None", {"a is None"}),
    ("f = lambda a, b: a or not b", {"a and (not b)", "b"}),
    ("f = lambda a, b: max(a, b)", {"min(a, b)"}),
    ("f = lambda a: a.max(axis=0)", {"a.min(axis=0)"}),
    ("f = lambda a: np.maximum(a, 0)", {"np.minimum(a, 0)"}),
    ("f = lambda a: all(a)", {"any(a)"}),
    ("f = lambda a: a.any()", {"a.all()"}),
    ("f = lambda a: abs(a)", {"a"}),
    ("f = lambda a: np.abs(a)", {"a"}),
    ("f = lambda a: a.abs()", {"a"}),
    ("f = lambda: yes(False, 'no')", {"yes(True)"}),
    ("f = lambda: yes(True)", set()),
    ("f = lambda a, b: worst(a, b)", {"worst(b)", "worst(a)"}),
    ("f = lambda a: worst(*a)", {"worst(*[*a][:1])", "worst(*[*a][1:])"}),
    ("def f(a):\n    a.append(1)", {"pass"}),
    ("f = lambda a, b: a + b / 2", set()),
    ("def f(a: int | None) -> str:\n    assert a != 1\n    return f'{a != 2}'", set()),
]


@pytest.mark.parametrize(("source", "expected"), CHANGES)
def test_what_is_changed(source: str, expected: set[str]) -> None:
    assert {mutant.after for mutant in mutants(CHECK, source)} == expected


def test_arithmetic_and_constants_are_those_of_the_bounds() -> None:
    source = "A = {'T1': 1.0, 'E': 0.0}\nB_C = (2.0**-3, 4)\nD = 5\nf = lambda a, b: a + b / 2"
    after = [(mutant.function, mutant.after) for mutant in mutants(BOUNDS, source)]
    assert after == [
        *[("A", "'T1': 1.0 * 10"), ("A", "'T1': 1.0 / 10"), ("A", "'E': 1.0")],
        *[("B_C", "2.0 ** (-3) * 10"), ("B_C", "2.0 ** (-3) / 10")],
        *[("B_C", "4 * 10"), ("B_C", "4 / 10"), ("D", "5 * 10"), ("D", "5 / 10")],
        *[("f", "a - b / 2"), ("f", "b * 2")],
    ]


def test_keys_do_not_depend_on_lines() -> None:
    source = "def f(a, b):\n    if a < b:\n        return 1\n    return a < b"
    moved = "\n\n# a comment\n" + source.replace("return 1", "\n        return (1)")
    first, second = (mutants(CHECK, text) for text in (source, moved))
    assert [m.key for m in first] == [m.key for m in second]
    assert [m.line for m in first] != [m.line for m in second]
    assert len({m.key for m in first}) == len(first) == 4
    assert first[2].key.endswith("#2")


def test_one_node_is_changed_and_put_back() -> None:
    (opposite, boundary) = mutants(CHECK, "def f(a):\n    return a <= 1")
    space: dict[str, object] = {}
    exec(opposite.compile(), space)
    assert [space["f"](a) for a in (0, 1, 2)] == [False, False, True]  # type: ignore[operator]
    exec(boundary.compile(), space)
    assert [space["f"](a) for a in (0, 1, 2)] == [True, False, False]  # type: ignore[operator]
    assert ast.unparse(boundary.tree) == "def f(a):\n    return a <= 1"


def test_every_module_has_mutants_with_keys_of_their_own() -> None:
    every = [mutant for module in modules() for mutant in mutants(module)]
    assert {mutant.module for mutant in every} >= {BOUNDS, "emcheck.checks.core"}
    assert len({mutant.key for mutant in every}) == len(every)
    stale = set(EQUIVALENT) - {mutant.key for mutant in every}
    assert not stale, f"listed as equivalent, and no such mutant: {stale}"
    assert all(reason.endswith(".") for reason in EQUIVALENT.values())


def _forget() -> None:
    """As in the process that forks: nothing of emcheck is loaded, nor what has imported it."""
    for name in list(sys.modules):
        if name.startswith(("emcheck.", "properties.test_")) or name == "emcheck":
            del sys.modules[name]


def _judged(mutant: Mutant, probes: list[Probe]) -> str:
    def work() -> str:
        _forget()
        return judge(mutant, probes)

    ((_, answer),) = in_forks([Task("one", work, 120.0)], 1)
    assert isinstance(answer, str), answer
    return answer


@pytest.mark.parametrize(
    ("key", "fault", "killer"),
    [
        ("ratio <= self.threshold -> self.ratio > self.threshold", "adds_noise", "survives"),
        ("ratio <= self.threshold -> self.ratio < self.threshold", "adds_noise", "is flagged"),
        ("ratio <= self.threshold -> self.ratio < self.threshold", "mask_scaled", ""),
    ],
)
def test_a_fault_notices_what_it_can(key: str, fault: str, killer: str) -> None:
    (mutant,) = (one for one in mutants(BOUNDS) if key in one.key)
    answer = _judged(mutant, [Probe(fault, 0.1, frozenset())])
    assert killer in answer
    assert bool(answer) is bool(killer)


def test_a_unit_test_notices_what_it_can() -> None:
    (mutant,) = (m for m in mutants(BOUNDS) if "m * self.u < 1 -> m * self.u <= 1" in m.key)
    name = "properties/test_bounds.py::test_gamma_ends_where_it_stops_making_sense[1024]"
    assert "test_gamma_ends" in _judged(mutant, [Probe(name, 0.1, frozenset())])


def test_lines_are_those_of_the_mutated_modules() -> None:
    bounds = importlib.import_module(BOUNDS)
    with Lines() as lines:
        bounds.ratio(1.0, 2.0)
    modules_seen = {module for module, _ in lines.seen}
    assert modules_seen == {BOUNDS}
    reached = {m.function for m in mutants(BOUNDS) if Probe("x", 0, lines.seen).reaches(m)}
    assert "ratio" in reached
    assert "norm2" not in reached


def test_forks_answer_raise_die_or_are_stopped() -> None:
    def wait() -> None:
        time.sleep(60)

    works = {"answer": lambda: 7, "raise": lambda: 1 / 0, "die": lambda: os._exit(3), "late": wait}
    tasks = [Task(name, work, 1.0 if name == "late" else 60.0) for name, work in works.items()]
    answers = {task.name: answer for task, answer in in_forks(tasks, 2)}
    assert answers["answer"] == 7
    assert answers["raise"] == NoAnswer("raised ZeroDivisionError: division by zero")
    assert answers["die"] == NoAnswer("died")
    assert answers["late"] == NoAnswer("too slow")


def test_a_test_that_cannot_be_found_is_no_pass() -> None:
    def work() -> str:
        return run_tests(["properties/test_bounds.py::test_no_such_thing"]).failed

    ((_, answer),) = in_forks([Task("one", work, 120.0)], 1)
    assert answer
