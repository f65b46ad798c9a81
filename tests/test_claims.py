"""Every claim holds, fails where it is false, and is told as it was measured."""

from __future__ import annotations

import io
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from emcheck.oracle import householder
from properties.portions import portion
from studies.claims import CLAIMS, Claim, Evidence, Fact, chosen
from studies.claims.keep import keep
from studies.claims.matrices import gaussian, lu_without_pivoting, reflections_of
from studies.claims.report import claims_frame, read_told, write_claims
from studies.claims.report.words import WORDS
from studies.claims.run import run_claims
from studies.claims.show import render
from studies.pages.errors import ReportError

KEPT = Path(__file__).parent.parent / "reports" / "data" / "claims"
NEGATED = [(name, negation) for name, claim in CLAIMS.items() for negation in claim.negations]


@pytest.mark.parametrize("name", portion(CLAIMS, 8))
def test_the_claim_holds_as_the_report_tells_it(name: str, tmp_path: Path) -> None:
    claim = CLAIMS[name]
    evidence = claim.measure()
    assert evidence.holds, evidence.conclusion
    path = keep(claim, evidence, tmp_path)
    kept = next(told for told in read_told(KEPT) if told.name == name)
    told = read_told(tmp_path)[0]
    words = [re.sub(r"[\d.,]+", "#", one.verdict) for one in (told, kept)]
    assert words[0] == words[1], "told in other words than in the report"
    assert (told.statement, told.holds, kept.holds) == (kept.statement, True, True)
    assert list(told.facts["what"]) == list(kept.facts["what"])
    assert set(told.tables) == set(kept.tables)
    assert path.name == f"{claim.letter}-{name}.json"


@pytest.mark.parametrize(("name", "negation"), NEGATED)
def test_it_fails_where_its_statement_is_false(name: str, negation: str) -> None:
    claim = CLAIMS[name]
    evidence = claim.negations[negation]()
    assert not evidence.holds
    assert not evidence.missing
    kept = next(told for told in read_told(KEPT) if told.name == name)
    broken = {fact.what for fact in evidence.facts if not fact.holds}
    assert broken & set(kept.facts["what"]), "fails by another number than those of the claim"


def test_there_are_seven_and_each_has_words_and_pictures() -> None:
    assert "".join(claim.letter for claim in CLAIMS.values()) == "abcdefg"
    assert set(WORDS) == set(CLAIMS)
    for name, claim in CLAIMS.items():
        assert claim.negations, name
        assert WORDS[name].pictures, name
        for picture in WORDS[name].pictures:
            assert "See " in picture.caption, f"{name}: the caption says what to see"


# --- facts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "relation", "bound", "holds"),
    [
        (1.0, "<=", 1.0, True),
        (1.1, "<=", 1.0, False),
        (1.0, ">=", 1.0, True),
        (0.9, ">=", 1.0, False),
        (2, "==", 2, True),
        (2, "==", 3, False),
        (math.nan, "<=", 1.0, False),
        (math.nan, ">=", 1.0, False),
        (math.nan, "==", math.nan, False),
    ],
)
def test_a_fact_compares(value: float, relation: str, bound: float, holds: bool) -> None:
    assert Fact("a number", value, relation, bound).holds is holds


def test_an_unknown_relation_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one of <=, >=, ==, got '<'"):
        Fact("a number", 1.0, "<", 2.0)


def test_a_claim_without_facts_does_not_hold() -> None:
    assert not Evidence([], "all is well").holds
    assert Evidence([], "all is well").conclusion == "Does not hold: nothing was measured."
    one = Evidence([Fact("a number", 3.0, "<=", 2.0)], "all is well")
    assert one.conclusion == "Does not hold: a number: 3 (expected <= 2)."


# --- tools ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("C", [1, 2, 5])
def test_factors_multiply_to_the_matrix(C: int) -> None:
    A = gaussian("a test", C, shape=(C, C))
    L, U = lu_without_pivoting(A)
    assert abs(L @ U - A).max() <= 1e-12 * abs(L).max() * abs(U).max()
    for i in range(C):
        assert L[i, i] == 1
        assert not L[i, i + 1 :].any()
        assert not U[i, :i].any()


@pytest.mark.parametrize("C", [2, 3, 6])
def test_reflections_multiply_to_the_rotation(C: int) -> None:
    Q, _ = np.linalg.qr(gaussian("a rotation", C, shape=(C, C)))
    if np.linalg.det(Q) * (-1) ** C < 0:
        Q[:, 0] *= -1
    assert abs(np.asarray(householder(reflections_of(Q)), float) - Q).max() <= 1e-13
    with pytest.raises(ValueError, match="expected a generic orthogonal matrix"):
        reflections_of(np.eye(C))


# --- telling -------------------------------------------------------------------------------------


def _cheap(holds: bool = True) -> Claim:
    evidence = Evidence([Fact("a [number]", 1.0 if holds else 3.0, "<=", 2.0)], "It is so.",
                        {"rows": [{"x": 1, "y": math.nan}, {"x": 2, "y": 0.5}]})  # fmt: skip
    return replace(CLAIMS["conditioning"], letter="z", name="cheap", measure=lambda: evidence)


def test_names_and_letters_choose_and_unknown_ones_are_one_line() -> None:
    assert [claim.letter for claim in chosen(["g", "plu-qr", "d"])] == ["g", "d"]
    assert chosen([]) == list(CLAIMS.values())
    with pytest.raises(ValueError, match=r"expected a claim among a .matrix-product.*got 'x'"):
        chosen(["x"])


def test_what_is_printed_fits_80_columns_and_says_the_verdict() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    render(_cheap(), _cheap().measure(), console)
    render(_cheap(False), _cheap(False).measure(), console)
    missing = Evidence([], "", missing="no file")
    render(_cheap(), missing, console)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    for word in ("HOLDS It is so.", "DOES NOT HOLD", "NOT MEASURED", "a [number]"):
        assert word in text


def test_a_false_claim_is_a_failure_and_a_missing_one_is_not(tmp_path: Path) -> None:
    assert run_claims([_cheap()], tmp_path)
    assert not run_claims([_cheap(False)], tmp_path)
    missing = replace(_cheap(), measure=lambda: Evidence([], "", missing="no file"))
    assert run_claims([missing], tmp_path)
    assert read_told(tmp_path)[0].verdict == "Not measured: no file."


@pytest.mark.system
def test_the_page_is_whole_and_the_same_twice(tmp_path: Path) -> None:
    first, second = (write_claims(KEPT, tmp_path / name) for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()
    text = first.read_text(encoding="utf-8")
    for path in (tmp_path / "one" / "figures").iterdir():
        assert f"(figures/{path.name})" in text
        assert path.read_bytes() == (tmp_path / "two" / "figures" / path.name).read_bytes()
    for told in read_told(KEPT):
        assert told.verdict.split(":")[0] in text
    assert text.count("\n## ") == len(CLAIMS)


def test_numbers_that_are_not_finite_survive(tmp_path: Path) -> None:
    keep(_cheap(), _cheap().measure(), tmp_path)
    table = read_told(tmp_path)[0].tables["rows"]
    assert math.isnan(table["y"][0])
    assert table["y"][1] == 0.5


def test_broken_and_absent_evidence_is_one_line(tmp_path: Path) -> None:
    assert claims_frame(read_told(tmp_path)) is None
    with pytest.raises(ReportError, match="expected claims, got none"):
        write_claims(tmp_path, tmp_path / "out")
    (tmp_path / "a-b.json").write_text('{"letter": "a"}', encoding="utf-8")
    with pytest.raises(ReportError, match=r"a-b.json: expected the key 'name'"):
        read_told(tmp_path)
