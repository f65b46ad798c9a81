"""Layers that nobody here designed a check for: right ones are ok, wrong ones are explained.

Each module of ``tests.kinds`` is one kind of behaviour, written as others write layers:
``make_good`` is right and must be ok, ``make_bad`` has one fault, which must be flagged and whose
cause, ``CAUSE``, must be what the first explanation says.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from types import ModuleType

import pytest

from emcheck import check_layer
from emcheck.kit import Report
from emcheck.result import Verdict
from properties.portions import portion
from tests import kinds

NAMES = sorted(module.name for module in pkgutil.iter_modules(kinds.__path__))

#: As many as there are; a lost file must not pass unseen.
LEAST = 98

#: Wrong layers that are flagged and not explained, with the reason.
UNEXPLAINED = {
    "matching_axis": "it sums over the batch for two samples only: too few to tell how",
    "inverse_raises_with_context": "the FAIL itself says what the inverse raises",
    "terms_missing": "its steps are methods, not modules: no log-det of a step can be recorded",
}

#: Wrong layers that cannot even be built twice: the refusal says why.
REFUSED = frozenset({"changes_argument"})


def load(name: str) -> ModuleType:
    return importlib.import_module(f"tests.kinds.{name}")


def with_layer(which: str) -> list[str]:
    return [name for name in NAMES if hasattr(load(name), f"make_{which}")]


def report_of(name: str, which: str) -> Report:
    kind = load(name)
    return check_layer(getattr(kind, f"make_{which}"), kind.SHAPE, **getattr(kind, "KW", {}))


@pytest.mark.parametrize("name", portion(with_layer("good"), 16))
def test_a_right_layer_is_not_accused(name: str) -> None:
    kind, report = load(name), report_of(name, "good")
    allowed = set(getattr(kind, "FAILS_OK", ()))
    assert {failure.check for failure in report.failures} == allowed, str(report)
    assert report.ok or allowed, str(report)


@pytest.mark.parametrize("name", portion(with_layer("bad"), 24))
def test_a_wrong_layer_is_flagged_and_explained(name: str) -> None:
    kind = load(name)
    if name in REFUSED:
        with pytest.raises(ValueError, match=f"(?i){kind.CAUSE}"):
            report_of(name, "bad")
        return
    report = report_of(name, "bad")
    allowed = set(getattr(kind, "FAILS_OK", ()))
    failed = {failure.check for failure in report.failures} - allowed
    if getattr(kind, "NOTE_OK", False):
        notes = [r.detail for r in report.results if r.verdict is Verdict.NOTE]
        assert any(re.search(kind.CAUSE, note, re.IGNORECASE) for note in notes), str(report)
        return
    assert failed, str(report)
    first = next((explanation.text for explanation in report.explanations), "")
    named = bool(re.search(kind.CAUSE, first, re.IGNORECASE))
    assert named is (name not in UNEXPLAINED), str(report)


def test_no_kind_is_lost() -> None:
    assert len(NAMES) >= LEAST
    assert set(UNEXPLAINED) <= set(with_layer("bad"))
