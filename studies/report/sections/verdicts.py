"""Verdict counts with their denominators, and the matrix of checks against layers."""

from __future__ import annotations

import pandas as pd

from studies.pages.markdown import code, csv_link, escape, figure, fold, table
from studies.pages.tidy import records
from studies.report.frames import Frames
from studies.report.verdicts import VERDICTS, counts, verdict_matrix

_SHORT = {"ILL-CONDITIONED": "ill", "UNSUPPORTED": "unsup.", "NOT RUN": "not run", "PASS": "pass"}


def _count_table(checks: pd.DataFrame, by: str) -> str:
    head = [by, "results", *VERDICTS, "examples", "ill-conditioned examples"]
    rows = []
    for row in records(counts(checks, by)):
        total = row[by] == "total"
        name = "**total**" if total else code(row[by])
        cells = [row["results"], *(row[v] for v in VERDICTS), row["examples"]]
        share = row["ill_conditioned_examples"] / max(row["examples"], 1)
        ill = f"{row['ill_conditioned_examples']:,} ({share:.1%})"
        rows.append([name, *(f"{cell:,}" for cell in cells), ill])
    return table(head, rows)


def verdicts(frames: Frames) -> str:
    """Verdict counts by family and layer, and the matrix of checks against layers."""
    title = "### Verdicts"
    if frames.checks is None:
        return f"{title}\n\nNot run: the input holds no check results."
    matrix = verdict_matrix(frames.checks)
    layers = [column for column in matrix.columns if column not in ("family", "check")]
    rows = [
        [
            escape(row["family"]),
            code(row["check"]),
            *(
                _SHORT.get(str(row[layer]), f"**{row[layer]}**") if row[layer] else ""
                for layer in layers
            ),
        ]
        for row in records(matrix)
    ]
    full = table(
        ["family", "check", *(code(layer) for layer in layers)], rows, left=len(layers) + 2
    )
    caption = (
        "What each check says about each layer: the worst ratio over dtypes and devices as a "
        "share of its threshold (darker is nearer to it; a check that answers yes or no has none), "
        "or a mark for any verdict but PASS. An empty square means that the check does not apply "
        "to the layer, so read a column downwards to see what a layer was tested for."
    )
    return "\n\n".join(
        [
            title,
            f"{csv_link('verdicts_by_family')}, {csv_link('verdicts_by_layer')}",
            fold("By check family", _count_table(frames.checks, "family")),
            fold("By layer", _count_table(frames.checks, "layer")),
            fold("By device", _count_table(frames.checks, "device")),
            figure("verdict_matrix", caption),
            fold("The same matrix as a table", full),
            f"{csv_link('verdict_matrix')}, and every single result: {csv_link('checks')}",
        ]
    )
