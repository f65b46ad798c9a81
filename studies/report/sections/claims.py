"""The claims in short; how each was measured has a page of its own."""

from __future__ import annotations

from studies.pages.markdown import csv_link, escape, plural, table
from studies.pages.tidy import records
from studies.report.frames import Frames


def claims(frames: Frames) -> str:
    """Every claim with its verdict."""
    title = "## Claims: does what is said hold?"
    if frames.claims is None:
        return f"{title}\n\nNot measured: no claim was examined (`emcheck claims`)."
    holds = int(frames.claims["holds"].sum())
    rows = [
        [
            f"**{escape(row['letter'])}. {escape(row['name'])}**: {escape(row['statement'])}",
            "yes" if row["holds"] else "**no**",
            escape(row["verdict"]),
        ]
        for row in records(frames.claims)
    ]
    first = f"**{holds} of {plural(len(rows), 'claim')} hold.**"
    links = f"How each was measured: [claims.md](claims.md); {csv_link('claims')}"
    return "\n\n".join([title, first, table(["claim", "holds", "verdict"], rows, left=3), links])
