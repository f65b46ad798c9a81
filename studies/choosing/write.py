"""From what was measured to choosing.md, its table and its figure."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from emcheck._internal.files import write_all
from studies.choosing.figure import draw
from studies.choosing.page import page
from studies.choosing.table import bits_frame, choosing_frame
from studies.contests.report import contest_frame
from studies.density.folders import DECAYING_RATE
from studies.density.report.load import read_density
from studies.pages.csv import csv_bytes
from studies.pages.load import read_contests


def write_choosing(data: Path, out: Path) -> Path:
    """Write choosing.md, tables/choosing*.csv and figures/choosing.svg below ``out``.

    Args:
        data: the folder with ``contests.jsonl`` and ``budget/cells``, either of which may lack.
        out: the folder of the report.

    Raises:
        ReportError: a broken file.
    """
    contests, cells = data / "contests.jsonl", data / DECAYING_RATE.name
    density = read_density(cells) if any(cells.glob("cells/*.json")) else None
    frame = choosing_frame(density, _timed(contests) if contests.exists() else None)
    bits = bits_frame(density)
    contents = {
        "tables/choosing.csv": csv_bytes(frame),
        "figures/choosing.svg": draw(frame),
        "choosing.md": page(frame, bits).encode(),
    }
    if bits is not None:
        contents["tables/choosing_bits.csv"] = csv_bytes(bits)
    write_all(out, contents)
    return out / "choosing.md"


def _timed(contests: Path) -> pd.DataFrame:
    return contest_frame(pd.DataFrame(read_contests(contests).rows))
