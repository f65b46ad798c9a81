"""Claims and what was found about them: one JSON file each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from emcheck.report.errors import ReportError
from emcheck.report.schema import Record, parse_json

_TEXTS = ("letter", "name", "doubt", "statement", "verdict", "missing")


@dataclass(frozen=True)
class Told:
    """One claim as ``emcheck claims`` kept it."""

    letter: str
    name: str
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
    return sorted((_told(path) for path in folder.glob("*.json")), key=lambda told: told.letter)


def read_claims(folder: Path) -> pd.DataFrame | None:
    """One row for each claim, by letter; None where there is none."""
    columns = ("letter", "name", "statement", "verdict", "holds")
    rows = [{name: getattr(told, name) for name in columns} for told in read_told(folder)]
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
    try:
        record: Record = parse_json(path.read_text(encoding="utf-8"), str(path))
        texts = {name: str(record[name]) for name in _TEXTS}
        facts = _numbers(pd.DataFrame(record["facts"]))
        tables = {
            name: _numbers(pd.DataFrame(columns)) for name, columns in record["tables"].items()
        }
        return Told(**texts, holds=bool(record["holds"]), negations=list(record["negations"]),
                    facts=facts, tables=tables)  # fmt: skip
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, ReportError):
            raise
        raise ReportError(f"{path}: expected a claim of emcheck claims, got {error!r}") from None
