"""A mutant in a fork: imported in the place of its module, and judged by the probes."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType

from tests.mutation.mutants import BOUNDS, ROOT, Mutant
from tests.mutation.probes import TESTS_OF_BOUNDS, Probe, judge_fault, run_tests

#: What starting pytest and collecting a test costs, in seconds.
_PYTEST = 1.0


class _Hook(importlib.abc.MetaPathFinder):
    """Lets one module be imported from given code instead of its file."""

    def __init__(self, module: str, code: CodeType) -> None:
        self.module, self.code = module, code

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != self.module:
            return None
        code = self.code

        class Loader(SourceFileLoader):
            def get_code(self, fullname: str) -> CodeType:
                return code

        found = PathFinder.find_spec(name, path)
        assert found is not None
        assert found.origin is not None
        return importlib.util.spec_from_file_location(
            name, found.origin, loader=Loader(name, found.origin)
        )


def judge(mutant: Mutant, probes: Sequence[Probe]) -> str:
    """What notices the mutant, cheapest first, or an empty string. For a fork of its own."""
    sys.path.insert(0, str(ROOT))
    sys.meta_path.insert(0, _Hook(mutant.module, mutant.compile()))
    try:
        importlib.import_module("emcheck.faults")
    except Exception as error:  # a module that cannot be imported is noticed by everybody
        return f"import: {type(error).__name__}"
    for step in _in_order(mutant, probes):
        if isinstance(step, Probe):
            complaint = judge_fault(step.name)
        else:
            complaint = run_tests([test.name for test in step]).failed
        if complaint:
            return complaint
    return ""


def _in_order(mutant: Mutant, probes: Sequence[Probe]) -> list[Probe | list[Probe]]:
    """Faults one by one and groups of tests, what is likely to notice soon before the others.

    Numbers are pinned down by tests of their own. Else a fault that costs less than all tests
    together comes before them.
    """
    tests, faults = (
        sorted((p for p in probes if p.is_fault is kind), key=lambda p: p.seconds)
        for kind in (False, True)
    )
    own = [test for test in tests if any(name in test.name for name in TESTS_OF_BOUNDS)]
    others = [test for test in tests if test not in own]
    groups = [group for group in (own, others) if group]
    if mutant.module == BOUNDS:
        return [*groups[:1], *faults, *groups[1:]]
    price = _PYTEST + sum(test.seconds for test in tests)
    cheap = [fault for fault in faults if fault.seconds <= price]
    return [*cheap, *groups, *faults[len(cheap) :]]
