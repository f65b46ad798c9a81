"""``survey.md`` from the lines of a survey; accuses of nothing that no test confirms."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emcheck.checks import CHECKS
from emcheck.report.files import write_all
from emcheck.report.markdown import code, escape, plural, table
from emcheck.survey.cause import BY_DESIGN, CONFIRMED, Cause
from emcheck.survey.entries import LIBRARIES
from emcheck.survey.findings import CAUSES, REFUSED, SEEN, cause_of
from emcheck.survey.run import COULD_NOT_RUN

Row = dict[str, Any]

_FAMILIES = ("values", "logdet", "gradients", "structure", "state", "contract")

_KINDS = ("ok", "FAIL", COULD_NOT_RUN)

_TESTS = "properties/test_survey_findings*.py"

_LEGEND = (
    "`ok`: everything that applies passed. `FAIL`: at least one check failed. `-`: nothing of the "
    "family applies or could be run. A star: a check was left out because the layer does not "
    "offer what it needs, such as an exact inverse. The diagnosis is what the kit named first; "
    "it was formed without knowledge of the code."
)


@dataclass(frozen=True)
class Fail:
    """A check that failed on a layer, in all dtypes together."""

    row: Row
    check: str
    results: tuple[Row, ...]

    @property
    def cause(self) -> Cause | None:
        return cause_of(self.row["library"], self.row["name"], self.check)


def load(path: Path) -> tuple[Row, list[Row]]:
    """The header and the layers of a survey.

    Raises:
        ValueError: the file is no survey.
        OSError: it cannot be read.
    """
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        header, rows = lines[0], lines[1:]
        known = header["kind"] == "survey" and all(row["kind"] == "layer" for row in rows)
    except (json.JSONDecodeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f"expected lines of a survey in {path}, got {error!r}") from error
    if not known:
        raise ValueError(f"expected lines of a survey in {path}, got other records")
    return header, rows


def write_survey(path: Path, out: Path) -> Path:
    """Write ``out`` from the survey at ``path``."""
    write_all(out.parent, {out.name: render(*load(path)).encode()})
    return out


def render(header: Row, rows: Sequence[Row]) -> str:
    """The whole page."""
    parts = [
        "# Field survey",
        _introduction(header, rows),
        _summary(header, rows),
        "## What was found",
        _findings(rows),
        "## Layer by layer",
        _LEGEND,
        *(_of_library(library, rows) for library in header["libraries"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def fails_of(rows: Iterable[Row]) -> Iterator[Fail]:
    """One for each layer and check that failed."""
    for row in rows:
        failed = [r for r in row.get("results", ()) if r["verdict"] in ("FAIL", "XPASS")]
        for check in dict.fromkeys(r["check"] for r in failed):
            yield Fail(row, check, tuple(r for r in failed if r["check"] == check))


def _introduction(header: Row, rows: Sequence[Row]) -> str:
    examples = sum(row.get("examples", 0) for row in rows)
    released = sum(row["library"] in LIBRARIES for row in rows)
    return (
        f"`emcheck survey` ran every check that applies on {plural(released, 'layer')} of "
        f"released libraries and on a replica, written from the mathematics, of two defects "
        f"described for the paper's own code ({len(rows) - released} layers, mended ones among "
        f"them): {examples:,} examples in float32 and float64, seed {header['seed']}, torch "
        f"{header['torch']}, Python {header['python']}, on the CPU. Each layer was built by a "
        "function, so that the checks about fresh state are complete, and looked at with initial "
        f"and with moved parameters. Every FAIL is confirmed by a few lines in `{_TESTS}` that "
        "compute without emcheck; a FAIL without such a test is listed as not confirmed yet. "
        "Float64 is held to float64: many findings are digits that float32 has cut off."
    )


def _summary(header: Row, rows: Sequence[Row]) -> str:
    head = ("library", "version", "layers", "ok", "with FAIL", COULD_NOT_RUN)
    body = []
    for library, version in header["libraries"].items():
        mine = [row for row in rows if row["library"] == library]
        verdicts = Counter(_kind(row) for row in mine)
        counts = [verdicts[kind] for kind in _KINDS]
        body.append((library, version or ("–" if mine else "not installed"), len(mine), *counts))
    total = Counter(map(_kind, rows))
    sums = [total[kind] for kind in _KINDS]
    return table(head, [*body, ("all", "", len(rows), *sums)], left=2)


def _kind(row: Row) -> str:
    """``ok``, ``FAIL`` (or a value check that applies never passed), or could not run."""
    return "FAIL" if row["verdict"] == "NOT OK" else str(row["verdict"])


def _findings(rows: Sequence[Row]) -> str:
    fails = list(fails_of(rows))
    lonely = [fail for fail in fails if fail.cause is None]
    parts = ["### Confirmed", _caused(fails, CONFIRMED)]
    design = (
        "The library documents these, or they follow from what it documents. They fail a clause "
        "of the contract all the same, and whoever uses the layer should know."
    )
    parts += ["### By design", design, _caused(fails, BY_DESIGN), _approximate(rows)]
    parts += ["### By convention", _conventions(rows)]
    parts += ["### Could not run", _refused(rows)]
    parts += ["### Seen while confirming, not by a check", _seen(rows)]
    parts += ["### Not confirmed yet", _unconfirmed(lonely)]
    return "\n\n".join(part for part in parts if part)


def _caused(fails: Sequence[Fail], kind: str) -> str:
    """One paragraph for each cause that made something fail, with its layers and checks."""
    lines = []
    for cause in CAUSES:
        mine = [fail for fail in fails if fail.cause is cause]
        if cause.kind != kind or not mine:
            continue
        layers = ", ".join(dict.fromkeys(code(fail.row["name"]) for fail in mine))
        checks = ", ".join(dict.fromkeys(code(fail.check) for fail in mine))
        lines.append(
            f"- **{cause.library}**: {cause.text}\n  Layers: {layers}.\n  Checks: {checks}.\n"
            f"  Confirmed by `{cause.test}`."
        )
    return "\n".join(lines) or "Nothing."


def _approximate(rows: Sequence[Row]) -> str:
    """Layers whose exactness is not judged because the library says that they are not."""
    needs = {"inverse_undoes_forward": "the inverse", "logdet_matches_jacobian": "the log-det"}
    found = []
    for row in rows:
        missing = [what for check, what in needs.items() if check in row.get("unsupported", ())]
        if missing:
            reason = row["note"] or "not offered"
            told = f"{' and '.join(missing)} ({escape(reason)})"
            found.append(f"- {row['library']} {code(row['name'])}: {told}")
    head = (
        "Where the library declares an approximation, or does not offer a direction, values are "
        "not compared with exact ones. Left out for this reason:"
    )
    return "\n".join([head, "", *found]) if found else ""


def _conventions(rows: Sequence[Row]) -> str:
    """Notes, counted: what they are about and in how many layers of each library."""
    head = (
        "What a library may settle as it likes: these are NOTES, and not called bugs. The numbers "
        "are layers."
    )
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        noted = {r["check"] for r in row.get("results", ()) if r["verdict"] == "NOTE"}
        for check in noted:
            counts.setdefault(check, Counter())[row["library"]] += 1
    libraries = list(dict.fromkeys(row["library"] for row in rows))
    body = [
        (code(check), *(counts[check][library] for library in libraries))
        for check in sorted(counts)
    ]
    return f"{head}\n\n{table(('check', *libraries), body)}" if body else "Nothing."


def _refused(rows: Sequence[Row]) -> str:
    told = {(library, name): (text, test) for library, name, text, test in REFUSED}
    lines = []
    for row in rows:
        if row["verdict"] == COULD_NOT_RUN:
            text, test = told.get((row["library"], row["name"]), ("Not looked into yet.", ""))
            confirmed = f" Confirmed by `{test}`." if test else ""
            lines.append(f"- **{row['library']}** {code(row['name'])}: {text}{confirmed}")
    return "\n".join(lines) or "Nothing."


def _seen(rows: Sequence[Row]) -> str:
    present = {row["library"] for row in rows}
    lines = [
        f"- **{library}** {', '.join(map(code, layers))}: {text} Confirmed by `{test}`."
        for library, layers, text, test in SEEN
        if library in present
    ]
    return "\n".join(lines) or "Nothing."


def _unconfirmed(fails: Sequence[Fail]) -> str:
    if not fails:
        return "Nothing."
    rows = [
        (
            fail.row["library"],
            code(fail.row["name"]),
            code(fail.check),
            " ".join(r["dtype"] for r in fail.results),
            escape(fail.results[-1]["detail"][:100]),
        )
        for fail in fails
    ]
    return table(("library", "layer", "check", "dtypes", "detail"), rows, left=5)


def _of_library(library: str, rows: Sequence[Row]) -> str:
    mine = [row for row in rows if row["library"] == library]
    if not mine:
        return ""
    head = ("layer", "event", "verdict", *_FAMILIES, "diagnosis")
    body = [
        (
            code(row["name"]),
            "x".join(map(str, row["event"])),
            f"**{_kind(row)}**" if row["verdict"] != "ok" else "ok",
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
    """Whether a check of the family was left out for another reason than a missing reference."""
    return CHECKS[check].family == family and "definition" not in CHECKS[check].needs


def _diagnosis(row: Row) -> str:
    if row["verdict"] == COULD_NOT_RUN:
        return escape(row["reason"])
    if row["verdict"] == "ok":
        return ""
    if not any(fails_of([row])):
        return f"never passed: {', '.join(map(code, row['unproven']))}"
    explanations = row["explanations"]
    return escape(explanations[0]["text"]) if explanations else "no explanation fits"
