"""Claims and what was found about them: one JSON file each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from studies.pages.fields import ORIGIN
from studies.pages.load import content_of
from studies.pages.schema import Field, flag, list_of, name, number, parse_json, read_record, text


def _tables(value: Any) -> dict[str, Any]:
    """Table -> column -> values, equally many."""
    if not isinstance(value, dict) or not all(isinstance(table, dict) for table in value.values()):
        raise ValueError("tables of columns")
    for table in value.values():
        if len({len(column) if isinstance(column, list) else -1 for column in table.values()}) > 1:
            raise ValueError("columns of one length")
    return value


def _machine(value: Any) -> dict[str, Any]:
    return read_record(value, ORIGIN, "machine")


_CLAIM = {
    **{key: Field(name) for key in ("letter", "name", "doubt", "statement", "verdict")},
    "machine": Field(_machine, _machine({})),
    "missing": Field(text),
    "holds": Field(flag),
    "negations": Field(list_of(name)),
    "facts": Field(list_of(lambda value: value)),
    "tables": Field(_tables),
}

_FACT = {
    "what": Field(name),
    "value": Field(number),
    "relation": Field(name),
    "bound": Field(number),
    "holds": Field(flag),
}


@dataclass(frozen=True)
class Told:
    """One claim as ``emcheck claims`` kept it."""

    letter: str
    name: str
    machine: Mapping[str, Any]
    doubt: str
    statement: str
    verdict: str
    missing: str
    holds: bool
    negations: Sequence[str]
    facts: pd.DataFrame
    tables: Mapping[str, pd.DataFrame]


def read_told(folder: Path) -> list[Told]:
    """Every ``*.json`` of the folder, by letter.

    Raises:
        ReportError: a file is broken; it is named.
    """
    told = [_told(path) for path in folder.glob("*.json")]
    return sorted(told, key=lambda one: (one.letter, one.name))


def claims_frame(claims: Sequence[Told]) -> pd.DataFrame | None:
    """One row for each claim; None where there is none."""
    columns = ("letter", "name", "statement", "verdict", "holds")
    rows = [{name: getattr(told, name) for name in columns} for told in claims]
    return pd.DataFrame(rows) if rows else None


def _numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns of numbers as such: what is not finite was written as text."""
    for column in frame:
        mixed = [value for value in frame[column] if not isinstance(value, str)]
        texts = {value for value in frame[column] if isinstance(value, str)}
        if texts and texts <= {"nan", "inf", "-inf"} and (mixed or "nan" in texts):
            frame[column] = frame[column].astype(float)
    return frame


def _told(path: Path) -> Told:
    record = parse_json(content_of(path, "a claim"), str(path))
    found = read_record(record, _CLAIM, str(path))
    facts = [read_record(fact, _FACT, f"{path}: facts") for fact in found.pop("facts")]
    tables = {name: _numbers(pd.DataFrame(columns)) for name, columns in found["tables"].items()}
    return Told(**found | {"facts": pd.DataFrame(facts), "tables": tables})
