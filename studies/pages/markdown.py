"""Markdown pieces: tables, folds, figures, and numbers as a reader wants them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

Row = Sequence[object]


def escape(value: object) -> str:
    """Text that stays text inside a table cell."""
    text = " ".join(str(value).split())
    for character, safe in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|")):
        text = text.replace(character, safe)
    return text.replace("`", "'").replace("*", "\\*")


def code(value: object) -> str:
    """A name in code type (a pipe or a backtick in it would end the cell or the code)."""
    text = " ".join(str(value).split()).replace("|", "/").replace("`", "'")
    return f"`{text}`" if text else ""


def table(head: Sequence[str], rows: Iterable[Row], left: int = 1) -> str:
    """A Markdown table; the first ``left`` columns are text, the others numbers.

    Cells are taken as Markdown: escape free text before.
    """
    body = [[str(cell) for cell in row] for row in rows]
    rule = ["---" if index < left else "---:" for index in range(len(head))]
    lines = [list(head), rule, *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def fold(title: str, body: str) -> str:
    """A part that is closed until the reader opens it."""
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"


def figure(name: str, caption: str) -> str:
    """A figure with its caption."""
    alt = caption.split(". ")[0].rstrip(".").replace("[", "(").replace("]", ")")
    return f"![{alt}](figures/{name}.svg)\n\n*{caption}*"


def csv_link(name: str) -> str:
    """A link to the CSV of a table."""
    return f"[{name}.csv](tables/{name}.csv)"


def plural(n: int, thing: str) -> str:
    """``1 check``, ``1,234 checks``."""
    if n == 1:
        return f"1 {thing}"
    many = thing[:-1] + "ies" if thing.endswith("y") else thing + "s"
    return f"{n:,} {many}"


def number(value: float, digits: int = 2) -> str:
    """A number to so many significant digits; infinite and missing ones in words."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if -3 <= size < 5:
        return f"{round(value, digits - 1 - size):,.{max(0, digits - 1 - size)}f}"
    return f"{value:.{digits - 1}e}"


_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def seconds(median: float, low: float, high: float, interval: str) -> str:
    """A time with what surrounds it: ``12.3 µs [12.1, 12.6]``, or a range in parentheses."""
    if median is None or math.isnan(median):
        return "–"
    scale, unit = next(((s, u) for s, u in _UNITS if median >= s), _UNITS[-1])
    shown = f"{number(median / scale, 3)} {unit}"
    if low is None or math.isnan(low):
        return shown
    around = f"{number(low / scale, 3)}, {number(high / scale, 3)}"
    return f"{shown} ({around})" if interval.startswith("range") else f"{shown} [{around}]"


def error_ratio(ratio: float, threshold: float, rule: str) -> str:
    """An error ratio beside its threshold, in bold where it does not pass."""
    if math.isnan(ratio) and math.isnan(threshold):
        return "**no number**"
    value = "NaN" if math.isnan(ratio) else number(ratio)
    if ratio <= threshold:
        return f"{value} ≤ {threshold:g} {rule}".rstrip()
    return f"**{value} over {threshold:g}** {rule}".rstrip()
