"""Tables as CSV that a spreadsheet may open."""

from __future__ import annotations

from typing import Any

import pandas as pd

#: Ten digits: what another processor computes from the same measurements agrees in them.
_DIGITS = "%.10g"

#: With these a spreadsheet begins a formula.
_FORMULA = ("=", "+", "@", "\t", "\r", "-")


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """UTF-8 with ``\\n``; missing numbers are ``nan``, and no text of others begins a formula."""
    texts = frame.select_dtypes(include=["object", "string", "category"]).columns
    safe = frame.assign(**{str(name): frame[name].map(_plain) for name in texts})
    return safe.to_csv(
        index=False, lineterminator="\n", na_rep="nan", float_format=_DIGITS
    ).encode()


def _plain(value: Any) -> Any:
    if not isinstance(value, str) or len(value) < 2 or not value.startswith(_FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value
