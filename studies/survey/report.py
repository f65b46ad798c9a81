"""``survey.md`` from the lines of a survey; accuses of nothing that no test confirms."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from emcheck._internal.files import write_file
from studies.pages.markdown import code, escape, plural, table
from studies.survey.entries import LIBRARIES
from studies.survey.lines import KINDS, Row, kind
from studies.survey.lines import load as load
from studies.survey.run import COULD_NOT_RUN
from studies.survey.run import family as family_of
from studies.survey.told import fails_of, findings

_FAMILIES = ("values", "logdet", "gradients", "state", "contract")

#: Left out for nearly every layer, without meaning: what is not part of others' interfaces.
_RARE = ("log_det_alone_agrees",)

_TESTS = "tests/test_survey_findings*.py"

_LEGEND = (
    "`ok`: everything that applies passed. `FAIL`: at least one check failed. `-`: nothing of the "
    "family applies or could be run; `ok, values not compared`: there was no inverse, or none that "
    "is exact, to compare values with. A star: a check was left out because the layer does not "
    "offer what it needs, such as an exact inverse. The diagnosis is what the kit named first; "
    "it was formed without knowledge of the code."
)


def write_survey(path: Path, out: Path) -> Path:
    """Write ``out`` from the survey at ``path``."""
    write_file(out, render(*load(path)).encode())
    return out


def render(header: Row, rows: Sequence[Row]) -> str:
    """The whole page."""
    parts = [
        "# Field survey",
        _introduction(header, rows),
        _summary(header, rows),
        "## What was found",
        findings(rows),
        "## Layer by layer",
        _LEGEND,
        *(_of_library(library, rows) for library in header["libraries"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _introduction(header: Row, rows: Sequence[Row]) -> str:
    examples = sum(row.get("examples", 0) for row in rows)
    released = sum(row["library"] in LIBRARIES for row in rows)
    return (
        f"`emcheck survey` ran every check that applies on {plural(released, 'layer')} of "
        f"released libraries and on {len(rows) - released} re-implementations: two defects that "
        f"were reported of the paper's own code, and corrected versions; {examples:,} examples in "
        f"float32 and float64, seed {header['seed']}, torch "
        f"{header['torch']}, Python {header['python']}, on the CPU. Each layer was built by a "
        "function, so that the checks about fresh state are complete, and looked at with initial "
        "and with moved parameters. The cause of every FAIL is confirmed by a few lines in "
        f"`{_TESTS}` that compute without emcheck; a FAIL without such a test is listed as not "
        "confirmed yet. "
        "Float64 is held to float64: many findings are digits that float32 has cut off."
    ) + _cost(rows)


def _cost(rows: Sequence[Row]) -> str:
    """What a report costs, from the rows that say so."""
    seconds = [row["cpu_seconds"] for row in rows if "cpu_seconds" in row]
    if len(seconds) < 2:
        return ""
    low, middle, high = statistics.quantiles(seconds, n=4)
    return (
        f" A report took {middle:.1f} s of CPU time at the median (quartiles {low:.1f} and "
        f"{high:.1f} s, {plural(len(seconds), 'layer')})."
    )


def _summary(header: Row, rows: Sequence[Row]) -> str:
    head = (
        "library",
        "version",
        "layers",
        "ok",
        "ok, values not compared",
        "with FAIL",
        COULD_NOT_RUN,
    )
    body = []
    for library, version in header["libraries"].items():
        mine = [row for row in rows if row["library"] == library]
        verdicts = Counter(kind(row) for row in mine)
        counts = [verdicts[word] for word in KINDS]
        body.append((library, version or ("–" if mine else "not installed"), len(mine), *counts))
    total = Counter(map(kind, rows))
    sums = [total[word] for word in KINDS]
    return table(head, [*body, ("all", "", len(rows), *sums)], left=2)


def _of_library(library: str, rows: Sequence[Row]) -> str:
    mine = [row for row in rows if row["library"] == library]
    if not mine:
        return ""
    head = ("layer", "event", "verdict", *_FAMILIES, "diagnosis")
    body = [
        (
            code(row["name"]),
            "x".join(map(str, row["event"])),
            kind(row) if row["verdict"] == "ok" else f"**{kind(row)}**",
            *(_cell(row, family) for family in _FAMILIES),
            _diagnosis(row),
        )
        for row in mine
    ]
    return f"### {library}\n\n{table(head, body, left=len(head))}"


def _cell(row: Row, family: str) -> str:
    counts = row.get("families", {}).get(family, {})
    star = "\\*" if any(_left_out(check, family) for check in row.get("unsupported", ())) else ""
    if counts.get("FAIL"):
        return f"FAIL{star}"
    return f"ok{star}" if counts.get("PASS") else "-"


def _left_out(check: str, family: str) -> bool:
    """Whether a check of the family was left out for what this layer does not offer."""
    return family_of(check) == family and check not in _RARE


def _diagnosis(row: Row) -> str:
    if row["verdict"] == COULD_NOT_RUN:
        return escape(row["reason"])
    if row["verdict"] == "ok":
        return ""
    if not any(fails_of([row])):
        return f"never passed: {', '.join(map(code, row['unproven']))}"
    explanations = row["explanations"]
    return escape(explanations[0]["text"]) if explanations else "no explanation fits"
