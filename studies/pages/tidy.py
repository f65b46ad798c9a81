"""Small helpers for tidy frames."""

from __future__ import annotations

from typing import Any

import pandas as pd

from studies.pages.schema import Record


def records(frame: pd.DataFrame) -> list[Record]:
    """The rows as dictionaries."""
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]


def where(frame: pd.DataFrame, chosen: dict[str, Any]) -> pd.DataFrame:
    """The rows that hold the chosen values."""
    for key, value in chosen.items():
        frame = frame[frame[key] == value]
    return frame


def size_names(frame: pd.DataFrame) -> list[str]:
    """``16x16`` for every row."""
    return [f"{row['height']}x{row['width']}" for row in records(frame)]
