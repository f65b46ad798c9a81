"""The lines of a survey: read from a file, and what one of them says in a word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from emcheck._internal.seal import without_seal
from studies.survey.entries import SURVEYED

#: One line of a survey.
Row = dict[str, Any]

COULD_NOT_RUN = "could not run"

#: What a layer can be, in the order of the tables.
KINDS = ("ok", "ok, values not compared", "FAIL", COULD_NOT_RUN)


def load(path: Path) -> tuple[Row, list[Row]]:
    """The header and the layers of a survey, library by library in the order of the tables.

    Raises:
        ValueError: the file is no survey.
        OSError: it cannot be read.
    """
    try:
        found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        header, *rows = map(without_seal, found)
        known = header["kind"] == "survey" and all(row["kind"] == "layer" for row in rows)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"expected lines of a survey in {path}, got {error!r}") from error
    if not known:
        raise ValueError(f"expected lines of a survey in {path}, got other records")
    order = {library: place for place, library in enumerate(SURVEYED)}
    return header, sorted(rows, key=lambda row: order.get(row["library"], len(order)))


def kind(row: Row) -> str:
    """``FAIL`` (or a value check that applies never passed), or the verdict; ok in two kinds."""
    if row["verdict"] == "ok":
        judged = row["families"].get("values", {}).get("PASS")
        return "ok" if judged else "ok, values not compared"
    return "FAIL" if row["verdict"] == "NOT OK" else str(row["verdict"])
