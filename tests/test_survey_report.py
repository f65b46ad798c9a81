"""The survey itself: what it writes, and that its report accuses of nothing unconfirmed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributions import Distribution
from torch.distributions import transforms as tt

from properties.portions import portion
from studies.pages.load import Properties
from studies.report.origins import origins
from studies.survey import LIBRARIES, SURVEYED, Entry, entries, run
from studies.survey.cause import BY_DESIGN, CONFIRMED
from studies.survey.findings import CAUSES, REFUSED, cause_of
from studies.survey.report import load, render, write_survey
from studies.survey.run import COULD_NOT_RUN, examine, rows_of, survey
from studies.survey.told import fails_of, unconfirmed
from tests import (
    test_survey_findings,
    test_survey_findings_index,
    test_survey_findings_more,
    test_survey_findings_pyro,
    test_survey_findings_wide,
)
from tests.surveyed import listed

REPORTS = Path(__file__).parent.parent / "reports"

REPLICA = "replica of the paper's code"

TESTS = [cause.test for cause in CAUSES] + [told[-1] for told in REFUSED]


@pytest.mark.parametrize("name", sorted(set(TESTS)))
def test_every_cause_names_a_test(name: str) -> None:
    modules = (
        test_survey_findings,
        test_survey_findings_index,
        test_survey_findings_more,
        test_survey_findings_pyro,
        test_survey_findings_wide,
    )
    assert any(callable(getattr(module, name, None)) for module in modules)


@pytest.mark.parametrize("library", SURVEYED)
def test_every_cause_is_about_layers_under_survey(library: str) -> None:
    names = [e.name for e in (listed(library) if library in LIBRARIES else entries(library))]
    for cause in CAUSES:
        if cause.library == library:
            for pattern in cause.layers:
                fits = [cause.covers(library, name, cause.checks[0]) for name in names]
                assert any(fits), pattern
    for refused, name, *_ in REFUSED:
        assert refused != library or name in names


@pytest.mark.parametrize("entry", portion(entries(REPLICA), 9), ids=lambda entry: entry.name)
def test_the_replica_fails_where_it_is_wrong(entry: Entry) -> None:
    row = examine(entry)
    failed = {fail.check for fail in fails_of([row])}
    if entry.name == "1x1 and emerging in one layer":
        assert failed == {
            "logdet_matches_jacobian",
            "inverse_logdet_matches_jacobian",
            "logdets_cancel",
        }
    elif entry.name == "periodic, k = 5":
        assert {"inverse_undoes_forward", "forward_undoes_inverse"} <= failed
        assert not any("logdet" in check for check in failed)
    else:
        assert row["verdict"] == "ok"


def two(library: str) -> tuple[Entry, ...]:
    def refuses(generator: torch.Generator | None) -> Any:
        raise RuntimeError("no such kernel")

    good = Entry(library, "ExpTransform", lambda generator: tt.ExpTransform(), (2,))
    return good, Entry(library, "broken", refuses, (2,), "a note")


def put(found: Callable[[str], Sequence[Entry]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have these entries surveyed, in this process: another one would not know them."""

    def here(library: str, places: Iterable[int], seed: int) -> Iterator[dict[str, Any]]:
        return (examine(found(library)[place], seed) for place in places)

    monkeypatch.setattr(run, "entries", found)
    monkeypatch.setattr(run, "rows_of", here)


def test_what_another_library_changes_is_not_met() -> None:
    """Alone, the argument checks that zuko turns off are off, whatever is on in this process."""
    place = [entry.name for entry in entries("zuko")].index("BernsteinTransform")
    before = Distribution._validate_args
    Distribution.set_default_validate_args(True)
    try:
        (row,) = rows_of("zuko", [place], 0)
    finally:
        Distribution.set_default_validate_args(before)
    assert {fail.check for fail in fails_of([row])} == {"nan_stays_in_its_sample"}


def test_lines_are_written_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(two, monkeypatch)
    out, seen = tmp_path / "data" / "survey.jsonl", []

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        survey(["torch.distributions"], out=out, progress=interrupt)
    assert not out.exists()
    header, first = map(json.loads, out.with_name(".survey.jsonl.part").read_text().splitlines())
    assert header["layers"] == {"torch.distributions": 2}
    assert (first["name"], first["verdict"]) == ("ExpTransform", "ok")

    survey(["torch.distributions"], out=out, progress=lambda *step: seen.append(step))
    assert seen == [(1, 2), (2, 2)]
    assert [path.name for path in out.parent.iterdir()] == ["survey.jsonl"]
    header, rows = load(out)
    assert header["libraries"]["torch.distributions"] == torch.__version__
    assert [row["verdict"] for row in rows] == ["ok", COULD_NOT_RUN]
    assert rows[1]["reason"].endswith("raised RuntimeError: no such kernel")
    assert rows[1]["note"] == "a note"


def test_each_library_has_the_machine_that_surveyed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an earlier survey ran on is forgotten with the last of its lines."""
    put(lambda library: two(library)[:1], monkeypatch)
    out, now = tmp_path / "survey.jsonl", {"torch": "1", "python": "3", "commit": "a"}
    monkeypatch.setattr(run, "describe_machine", lambda: dict(now))
    survey(["torch.distributions", "zuko"], out=out)
    now |= {"torch": "2", "commit": "b"}
    survey(["zuko"], out=out)
    header, _ = load(out)
    assert {name: machine["commit"] for name, machine in header["machines"].items()} == {
        "zuko": "b",
        "torch.distributions": "a",
    }
    assert header["torch"] == "2 and 1"
    told = origins([], Properties(), None, header, [], {})
    assert [(row["commit"], row["about"]) for row in told] == [
        ("b", "1 layer, seed 0"),
        ("a", "1 layer, seed 0"),
    ]
    survey(["torch.distributions"], out=out)
    header, _ = load(out)
    assert header["torch"] == "2"
    (row,) = origins([], Properties(), None, header, [], {})
    assert (row["commit"], row["about"]) == ("b", "2 layers, seed 0")


def test_libraries_are_surveyed_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of others stay, in the order of the tables; what is there need not run again."""

    def some(library: str) -> tuple[Entry, ...]:
        if library == "zflows":
            raise ImportError("no such library")
        return two(library)[:1]

    put(some, monkeypatch)
    out, seen = tmp_path / "survey.jsonl", []
    assert run.missing(["zflows", "pyro"]) == ["zflows"]
    survey(["torch.distributions"], out=out)
    survey(["zflows", "zuko"], out=out)
    header, rows = load(out)
    assert list(header["libraries"]) == ["zuko", "torch.distributions"]
    assert [row["library"] for row in rows] == ["zuko", "torch.distributions"]
    again = ["zuko", "torch.distributions", "pyro"]
    survey(again, out=out, progress=lambda *step: seen.append(step), resume=True)
    assert seen == [(1, 1)]
    assert [row["library"] for row in load(out)[1]] == again
    with pytest.raises(ValueError, match="expected a survey of seed 1, got seed 0"):
        survey(["zuko"], seed=1, out=out)
    with pytest.raises(ValueError, match="expected a library that is installed, got zflows"):
        survey(["zflows"], out=out)


def test_what_cannot_be_surveyed_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^expected one of normflows, .*, got 'glow'$"):
        survey(["glow"], out=tmp_path / "survey.jsonl")
    (tmp_path / "other.jsonl").write_text('{"kind": "header"}\n')
    with pytest.raises(ValueError, match="expected lines of a survey"):
        load(tmp_path / "other.jsonl")


class Doubled(nn.Module):
    """A wrong log-det, under the name of a library that is not to blame."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return 2 * x, x.new_zeros(len(x))

    def inverse(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return z / 2, z.new_zeros(len(z))


def test_nothing_is_accused_without_a_test(tmp_path: Path) -> None:
    """A FAIL of no known cause stands under the last heading of the findings and nowhere else."""
    row = examine(Entry("zuko", "Doubled", lambda generator: Doubled(), (3,)))
    assert all(fail.cause is None for fail in fails_of([row]))
    header = {
        "kind": "survey", "seed": 0, "torch": "2", "python": "3",
        "libraries": {"zuko": "1", "nflows": ""}, "layers": {"zuko": 1},
    }  # fmt: skip
    text = render(header, [row])
    accused, unconfirmed = text.split("### Not confirmed yet")
    assert "`Doubled`" not in accused
    assert "| zuko | `Doubled` | `logdet_matches_jacobian` |" in unconfirmed
    assert "| nflows | not installed | 0 |" in accused
    lines = "\n".join(map(json.dumps, [header, row]))
    (tmp_path / "survey.jsonl").write_text(lines, encoding="utf-8")
    out = write_survey(tmp_path / "survey.jsonl", tmp_path / "survey.md")
    assert out.read_text(encoding="utf-8") == text


def test_the_first_cause_counts() -> None:
    expected = {
        "calls_are_pure": CONFIRMED,
        "no_dead_parameter": CONFIRMED,
        "rows_are_independent": BY_DESIGN,
    }
    for check, kind in expected.items():
        cause = cause_of("normflows", "Residual brute force", check)
        assert cause is not None
        assert cause.kind == kind
    assert cause_of("normflows", "ActNorm", "calls_are_pure") is None
    assert cause_of("zuko", "Shift", "calls_are_pure") is None


def test_the_report_is_that_of_the_lines() -> None:
    """What stands in the repository: every FAIL confirmed, and the page made from the lines."""
    header, rows = load(REPORTS / "data" / "survey.jsonl")
    assert list(header["libraries"]) == list(SURVEYED)
    assert len(rows) >= 350
    assert [(fail.row["name"], fail.check) for fail in unconfirmed(rows)] == []
    refused = {(r["library"], r["name"]) for r in rows if r["verdict"] == COULD_NOT_RUN}
    assert refused <= {(library, name) for library, name, *_ in REFUSED}
    assert (REPORTS / "survey.md").read_text(encoding="utf-8") == render(header, rows)
