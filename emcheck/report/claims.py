"""Claims and what was found about them: one JSON file each, read into a tidy frame."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from emcheck.report.load import content_of
from emcheck.report.schema import Field, flag, name, parse_json, read_record

CLAIM = {
    "letter": Field(name),
    "name": Field(name),
    "statement": Field(name),
    "verdict": Field(name),
    "holds": Field(flag),
}


def read_claims(folder: Path) -> pd.DataFrame | None:
    """One row per ``*.json`` of the folder, by letter; None where there is no such file.

    Raises:
        ReportError: a file is broken; it is named.
    """
    rows = [
        read_record(parse_json(content_of(path, "a claim"), str(path)), CLAIM, str(path))
        for path in sorted(folder.glob("*.json"))
    ]
    if not rows:
        return None
    return pd.DataFrame(rows).sort_values(["letter", "name"], ignore_index=True)
