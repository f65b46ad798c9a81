"""The suite cannot pass by covering less: counts may grow but not drop."""

from __future__ import annotations

import pytest
from hypothesis import find, settings

from emcheck.checks import CHECKS, Case, Subject
from emcheck.contract import InvertibleLayer
from emcheck.specs import REGISTRY
from properties.strategies import cases
from properties.summary import pairs

#: Of the day they were last looked at; a larger number needs no edit, a smaller one is a loss.
LAYERS, KINDS, PAIRS = 14, 46, 525


def test_counts_do_not_drop() -> None:
    assert len(REGISTRY) >= LAYERS
    assert len(CHECKS) >= KINDS
    assert len(pairs()) >= PAIRS


def test_every_check_applies_to_some_layer() -> None:
    assert {check for _, check in pairs()} == set(CHECKS)


@pytest.mark.parametrize("name", REGISTRY)
def test_every_layer_has_cases(name: str) -> None:
    case = find(cases(REGISTRY[name]), lambda case: True, settings=settings(database=None))
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
