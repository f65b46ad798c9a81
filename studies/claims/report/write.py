"""From kept claims to claims.md, tables and figures."""

from __future__ import annotations

from pathlib import Path

from emcheck._internal.files import write_all
from studies.claims.report.load import read_told
from studies.claims.report.page import page
from studies.claims.report.words import WORDS
from studies.pages.csv import csv_bytes
from studies.pages.errors import ReportError
from studies.pages.style import house_style, to_svg


def write_claims(data: Path, out: Path) -> Path:
    """Write claims.md, tables/claim_*.csv and figures/claim_*.svg below ``out``.

    The same input gives the same bytes.

    Args:
        data: the folder of ``emcheck claims``.
        out: the folder of the report.

    Raises:
        ReportError: no claim, a broken file, or a folder that cannot be written.
    """
    claims = read_told(data)
    if not claims:
        raise ReportError(f"{data}: expected claims, got none (emcheck claims)")
    contents: dict[str, bytes] = {}
    figures = []
    for told in claims:
        for name, frame in told.tables.items():
            contents[f"tables/claim_{told.letter}_{name}.csv"] = csv_bytes(frame)
        for picture in WORDS[told.name].pictures if told.tables and told.name in WORDS else ():
            with house_style():
                drawn = picture.draw(told)
                if drawn is not None:
                    figures.append(f"claim_{told.letter}_{picture.name}")
                    contents[f"figures/{figures[-1]}.svg"] = to_svg(drawn)
    contents["claims.md"] = page(claims, figures).encode()
    write_all(out, contents)
    return out / "claims.md"
