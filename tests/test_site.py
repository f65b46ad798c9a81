"""The site has a section for each check, and the contract a section for each clause."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from emcheck.checks import CHECKS
from emcheck.faults import FAULTS
from emcheck.known import Clause
from studies import site

CONTRACT = (Path(__file__).parents[1] / "docs" / "contract.md").read_text(encoding="utf-8")


def test_each_check_has_a_section_under_its_clause() -> None:
    found: dict[str, str] = {}
    clause = ""
    for level, title in re.findall(r"^(##|###) (.+)$", site.checks_page(), flags=re.MULTILINE):
        clause = title if level == "##" else clause
        if level == "###":
            found[title] = clause.lower()
    assert found == {check.name: str(check.clause) for check in CHECKS.values()}


@pytest.mark.parametrize("clause", list(Clause)[1:], ids=str)
def test_each_clause_has_the_title_that_a_failure_names(clause: Clause) -> None:
    number, title = re.fullmatch(r"clause (\d) \((.+)\)", str(clause)).groups()  # type: ignore[union-attr]
    assert f"## Clause {number}: {title}\n" in CONTRACT
    assert int(number) == clause


def test_every_named_killer_shows_a_fault() -> None:
    page = site.checks_page()
    for check in {fault.check for fault in FAULTS.values()}:
        section = page.partition(f"### {check}\n")[2].partition("\n### ")[0]
        assert "??? example" in section
        assert "```python" in section
