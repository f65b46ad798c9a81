"""What a survey found, as parts of its page: by cause, and what no test confirms apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from studies.pages.markdown import code, escape, table
from studies.survey.cause import BY_DESIGN, CONFIRMED, Cause
from studies.survey.findings import CAUSES, REFUSED, cause_of
from studies.survey.lines import COULD_NOT_RUN, Row


@dataclass(frozen=True)
class Fail:
    """A check that failed on a layer, in all dtypes together."""

    row: Row
    check: str
    results: tuple[Row, ...]

    @property
    def cause(self) -> Cause | None:
        return cause_of(self.row["library"], self.row["name"], self.check)


def fails_of(rows: Iterable[Row]) -> Iterator[Fail]:
    """One for each layer and check that failed."""
    for row in rows:
        failed = [r for r in row.get("results", ()) if r["verdict"] in ("FAIL", "XPASS")]
        for check in dict.fromkeys(r["check"] for r in failed):
            yield Fail(row, check, tuple(r for r in failed if r["check"] == check))


def findings(rows: Sequence[Row]) -> str:
    fails = list(fails_of(rows))
    parts = ["### Confirmed", _caused(fails, CONFIRMED)]
    design = (
        "The library documents these, or they follow from what it documents. They fail a clause "
        "of the contract all the same, and whoever uses the layer should know."
    )
    parts += ["### By design", design, _caused(fails, BY_DESIGN), _approximate(rows)]
    parts += ["### By convention", _conventions(rows)]
    parts += ["### Could not run", _refused(rows)]
    parts += ["### Not confirmed yet", _unconfirmed(unconfirmed(rows))]
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


def unconfirmed(rows: Iterable[Row]) -> list[Fail]:
    """The FAILs that no cause covers."""
    return [fail for fail in fails_of(rows) if fail.cause is None]
