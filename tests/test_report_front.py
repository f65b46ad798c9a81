"""The front of summary.md: its order, and a table behind every number."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from studies.claims.report import claims_frame, read_told
from studies.contests.reasons import WHY
from studies.density.report import write_density
from studies.report import ReportError, write_report
from studies.report.sections.survey import TELLING
from studies.survey.findings import CAUSES
from studies.survey.reading import read_survey
from tests.test_report import properties_file, property_records, small_file

DATA = Path(__file__).parent.parent / "reports" / "data"

FRONT = ["Power", "Speed", "Accuracy", "Survey", "Density", "Claims"]


def claim(letter: str, holds: bool) -> dict[str, Any]:
    """A claim as its file has it."""
    return {
        **{"letter": letter, "name": f"Claim {letter}", "statement": "a < b", "holds": holds},
        **{"verdict": "0.31 <= 0.5", "doubt": "Is it?", "missing": "", "negations": ["not so"]},
        **{"facts": [], "tables": {}},
    }


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with every section measured; survey and density are those of the reference run."""
    folder = tmp_path_factory.mktemp("front")
    (folder / "claims").mkdir()
    for letter, holds in (("B", False), ("A", True)):
        (folder / "claims" / f"{letter}.json").write_text(json.dumps(claim(letter, holds)))
    out = folder / "out"
    write_density(DATA / "density", out)
    return write_report(
        [small_file(folder / "b.json")],
        properties_file(folder / "p.jsonl", property_records()),
        out,
        DATA / "contests.jsonl",
        DATA / "density",
        DATA / "survey.jsonl",
        folder / "claims",
    )


def front(page: Path) -> dict[str, str]:
    """Title -> text of every section before the rule, the opening among them."""
    text = page.read_text(encoding="utf-8").split("\n---\n")[0]
    parts = re.split(r"^#+ ", text, flags=re.MULTILINE)[1:]
    return {part.split("\n")[0]: part.split("\n", 1)[1] for part in parts}


def unbacked(sections: dict[str, str], out: Path) -> list[str]:
    """Titles of sections that show numbers and link to no CSV that is there."""
    return [
        title
        for title, text in sections.items()
        if re.search(r"\d", text)
        and not any((out / link).is_file() for link in re.findall(r"\((tables/[^)]+\.csv)\)", text))
    ]


def test_the_front_has_its_order(page: Path) -> None:
    titles = list(front(page))
    assert titles[0] == "emcheck report"
    assert [title.split(":")[0] for title in titles[1:]] == FRONT


def test_every_number_of_the_front_has_its_table(page: Path) -> None:
    sections = front(page)
    assert all(re.search(r"\d", text) for text in sections.values())
    assert unbacked(sections, page.parent) == []
    broken = dict(sections) | {
        "Speed": "2 of 3",
        "Power": "1 ([x.csv](tables/x.csv))",
        "No": "none",
    }
    assert unbacked(broken, page.parent) == ["Speed", "Power"]


def test_the_front_is_short_and_its_long_tables_are_folded(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    prose = [line for line in text.split("\n---\n")[0].splitlines() if not line.startswith("|")]
    assert len(" ".join(prose).split()) < 600
    shown = re.sub(r"<details>.*?</details>", "", text, flags=re.DOTALL)
    tables = re.findall(r"(?:^\|.*\n)+", shown, flags=re.MULTILINE)
    assert max(table.count("\n") for table in tables) <= 24


def test_the_claims_stand_by_letter(page: Path) -> None:
    rows = front(page)["Claims: does what is said hold?"].splitlines()
    assert "**1 of 2 claims hold.**" in rows
    assert "| **A. Claim A**: a &lt; b | yes | 0.31 &lt;= 0.5 |" in rows
    assert "| **B. Claim B**: a &lt; b | **no** | 0.31 &lt;= 0.5 |" in rows
    assert (page.parent / "tables" / "claims.csv").read_text().startswith("letter,name,")


def test_what_is_not_measured_is_one_line(tmp_path: Path) -> None:
    page = write_report([small_file(tmp_path / "b.json")], None, tmp_path / "out")
    sections = front(page)
    for name, command in (("Survey", "survey"), ("Density", "density sweep"), ("Claims", "claims")):
        (text,) = (body for title, body in sections.items() if title.startswith(name))
        assert text.strip().startswith("Not measured")
        assert f"`emcheck {command}`" in text
        assert "\n" not in text.strip()


def test_a_broken_claim_is_one_line(tmp_path: Path) -> None:
    assert claims_frame(read_told(tmp_path / "none")) is None
    (tmp_path / "A.json").write_text(json.dumps(claim("A", True) | {"holds": "yes"}))
    with pytest.raises(ReportError, match=r"A\.json: holds: expected true or false") as caught:
        claims_frame(read_told(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "nonsense", '{"kind": "survey", "libraries": {}}'])
def test_a_broken_survey_is_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "survey.jsonl"
    with pytest.raises(ReportError, match="expected a survey, got No such file"):
        read_survey(path)
    path.write_text(content)
    with pytest.raises(ReportError, match="expected") as caught:
        read_survey(path)
    assert "\n" not in str(caught.value)


def test_the_survey_frame_counts_every_fail() -> None:
    frame = read_survey(DATA / "survey.jsonl")
    parts = frame["confirmed"] + frame["by_design"] + frame["open"]
    assert (parts == frame["failed_checks"]).all()
    assert (frame["checks"].str.split().map(len) == frame["failed_checks"]).all()
    assert set(TELLING) <= {cause.test for cause in CAUSES}
    for test in TELLING:
        assert frame["tests"].str.split().map(lambda tests, t=test: t in tests).any()


def test_every_bar_that_is_missed_has_a_reason() -> None:
    bars = pd.read_csv(DATA.parent / "tables" / "bars.csv")
    missed = set(bars.loc[~bars["met"] & (bars["processes"] > 0), "what"])
    assert missed <= set(WHY)
