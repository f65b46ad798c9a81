"""The suite cannot pass by covering less: what is written is registered and run."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import Phase, find, settings

import emcheck
from emcheck import flows, layers
from emcheck._internal.words import snake_case
from emcheck.checks import CHECKS, Case, Subject
from emcheck.contract import InvertibleLayer
from emcheck.faults import FAULTS
from emcheck.specs import REGISTRY
from properties.portions import portion
from properties.strategies import cases
from properties.summary import pairs

#: Any case will do, not the smallest.
GENERATED = settings(database=None, phases=[Phase.generate])


@pytest.mark.parametrize(
    ("package", "registered"), [("checks", set(CHECKS)), ("faults", set(FAULTS))]
)
def test_what_is_written_is_registered(package: str, registered: set[str]) -> None:
    """A module that nobody imports would be lost in silence."""
    folder, decorator = Path(emcheck.__path__[0]) / package, package.removesuffix("s")
    written = {
        definition.name
        for path in folder.glob("*.py")
        for definition in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(definition, ast.ClassDef | ast.FunctionDef)
        for one in definition.decorator_list
        if isinstance(one, ast.Call) and ast.unparse(one.func) == decorator
    }
    assert {snake_case(name) for name in written} == registered


@pytest.mark.parametrize("name", [*layers.__dict__, *flows.__dict__])
def test_every_exported_layer_has_a_spec(name: str) -> None:
    """Of composers those that can be built from a channel count."""
    found = vars(layers).get(name) or vars(flows)[name]
    if isinstance(found, type) and issubclass(found, InvertibleLayer) and name != "Glow":
        assert name in REGISTRY, f"write emcheck/specs/...py with SPECS[{name}] = LayerSpec(...)"


def test_every_check_applies_to_some_layer() -> None:
    """Those of other conventions have layers in the catalogue of faults alone."""
    asked = {"carried", "estimated", "log_prob", "tolerance"}
    known = {name for name, check in CHECKS.items() if not asked & set(map(str, check.needs))}
    assert {check for _, check in pairs()} == known


@pytest.mark.parametrize("name", portion(REGISTRY, 4))
def test_every_layer_has_cases(name: str) -> None:
    case = find(cases(REGISTRY[name]), lambda case: True, settings=GENERATED)
    assert isinstance(case, Case)
    layer = Subject.of_class(name, REGISTRY[name]).build(case)
    assert isinstance(layer, InvertibleLayer)


@pytest.mark.parametrize("name", REGISTRY)
def test_every_layer_has_values_logdets_and_gradients(name: str) -> None:
    families = {CHECKS[check].family for layer, check in pairs() if layer == name}
    assert families >= {"values", "logdet", "gradients", "contract", "state", "density"}


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_says_what_it_checks(name: str) -> None:
    assert CHECKS[name].summary.endswith((".", ").")), CHECKS[name].summary
