"""What a record must hold: named fields, each with a reader that says what it expected."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from emcheck._internal.seal import without_seal
from emcheck.result import Verdict
from studies.pages.errors import ReportError

#: Marks a field that has no default and must be there.
REQUIRED = object()

Record = dict[str, Any]


@dataclass(frozen=True)
class Field:
    """One field: ``read`` returns the value or raises ``ValueError`` with what it expected."""

    read: Callable[[Any], Any]
    default: Any = REQUIRED


def shown(value: object) -> str:
    """The value as it stood in the file, on one line and not longer than 60 characters."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def fail(where: str, expected: str, value: object) -> NoReturn:
    """Raise the one-line error: where, what was expected, what came."""
    raise ReportError(f"{where}: expected {expected}, got {shown(value)}")


def text(value: Any) -> str:
    """A string, on one line."""
    if not isinstance(value, str):
        raise ValueError("a string")
    return " ".join(value.split())


def name(value: Any) -> str:
    """A string that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a name (a string that is not empty)")
    return text(value)


def loose(value: Any) -> str:
    """Anything, as text: versions, commits and seeds are printed, never computed with."""
    if isinstance(value, str):
        return text(value)
    return "none" if value is None else json.dumps(value, sort_keys=True)


def count(value: Any) -> int:
    """A whole number from 0."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("a whole number from 0")
    return value


def positive(value: Any) -> int:
    """A whole number from 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("a whole number from 1")
    return value


def finite(value: Any) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError("a finite number")
    return float(value)


def number(value: Any) -> float:
    """A number, or "nan", "inf", "-inf" as strings; null is NaN: there was no number."""
    if value is None or value in ("nan", "inf", "-inf"):
        return float(value or "nan")
    try:
        return finite(value)
    except ValueError:
        raise ValueError('a finite number or one of "nan", "inf", "-inf"') from None


def flag(value: Any) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def verdict(value: Any) -> str:
    """One of the eight verdicts."""
    known = [v.value for v in Verdict]
    if value not in known:
        raise ValueError("a verdict (" + ", ".join(known) + ")")
    return str(value)


def one_of(*choices: str) -> Callable[[Any], str]:
    """A reader for a string out of a fixed list."""

    def read(value: Any) -> str:
        if value not in choices:
            raise ValueError(" or ".join(choices))
        return str(value)

    return read


def list_of(read_item: Callable[[Any], Any]) -> Callable[[Any], list[Any]]:
    """A reader for a list whose items all pass ``read_item``."""

    def read(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise ValueError("a list")
        return [read_item(item) for item in value]

    return read


def read_record(record: object, fields: Mapping[str, Field], where: str) -> Record:
    """The named fields of one record, checked; what is not named is left alone."""
    if not isinstance(record, dict):
        fail(where, "an object", record)
    values: Record = {}
    for key, field in fields.items():
        if key not in record:
            if field.default is REQUIRED:
                came = ", ".join(sorted(map(str, record)))
                fail(where, f"the key {key!r}", came if came else "no key at all")
            values[key] = field.default
            continue
        try:
            values[key] = field.read(record[key])
        except ValueError as error:
            fail(f"{where}: {key}", str(error), record[key])
    return values


def _no_constant(literal: str) -> NoReturn:
    raise ValueError(f'a finite number or the string "nan" or "inf", got the literal {literal}')


def parse_json(content: str, where: str) -> Any:
    """JSON as the standard has it: the literals NaN and Infinity are refused.

    Where an object carries a seal (:mod:`emcheck._internal.seal`), it has to agree with it.
    """
    try:
        found = json.loads(content, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        at = f"{error.msg.removesuffix(' at')} at line {error.lineno}, column {error.colno}"
        start = content.strip()[:40]
        raise ReportError(f"{where}: expected JSON, got {shown(start)} ({at})") from None
    except ValueError as error:
        raise ReportError(f"{where}: expected {error}") from None
    except RecursionError:
        raise ReportError(f"{where}: expected a record, got JSON nested too deeply") from None
    try:
        return without_seal(found)
    except ValueError as error:
        raise ReportError(f"{where}: expected the record that was written, got {error}") from None
