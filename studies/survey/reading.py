"""The field survey as a tidy frame: one row per layer of a library."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd

from studies.pages.errors import ReportError
from studies.survey.cause import BY_DESIGN, CONFIRMED
from studies.survey.lines import Row, kind, load
from studies.survey.told import Fail, fails_of


def read_survey(path: Path) -> pd.DataFrame:
    """The lines of ``emcheck survey`` as a frame.

    Raises:
        ReportError: the file is missing or holds something else.
    """
    try:
        header, rows = load(path)
        if not rows:
            raise ReportError(f"{path}: expected at least one layer, got none")
        return survey_frame(header, rows)
    except KeyError as error:
        raise ReportError(f"{path}: expected the key {error} in every layer") from None
    except OSError as error:
        raise ReportError(f"{path}: expected a survey, got {error.strerror}") from None
    except ReportError:
        raise
    except ValueError as error:
        raise ReportError(str(error)) from None


def survey_frame(header: Row, rows: list[Row]) -> pd.DataFrame:
    """Verdict of every layer, its failed checks, and the tests that confirm their causes."""
    return pd.DataFrame([_layer(row, header["libraries"].get(row["library"])) for row in rows])


def _layer(row: Row, version: str | None) -> Row:
    fails = list(fails_of([row]))
    kinds = Counter(_cause_kind(fail) for fail in fails)
    tests = dict.fromkeys(fail.cause.test for fail in fails if fail.cause is not None)
    return {
        **{"library": row["library"], "version": version or "", "layer": row["name"]},
        **{"event": "x".join(map(str, row["event"])), "verdict": kind(row)},
        **{"examples": row.get("examples", 0), "failed_checks": len(fails)},
        **{"confirmed": kinds[CONFIRMED], "by_design": kinds[BY_DESIGN], "open": kinds["open"]},
        **{"checks": " ".join(fail.check for fail in fails), "tests": " ".join(tests)},
    }


def _cause_kind(fail: Fail) -> str:
    return fail.cause.kind if fail.cause is not None else "open"
