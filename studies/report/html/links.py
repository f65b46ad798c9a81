"""Where a link of a page leads inside the one file, and its images as data."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from studies.pages.errors import ReportError

_MEDIA = {".svg": "image/svg+xml", ".png": "image/png", ".csv": "text/csv;charset=utf-8"}

#: What an address between double quotes may hold besides letters and digits.
_AS_IT_IS = " !$&'()*+,/:;=?@-._~"


def data_uri(path: Path) -> str:
    """The file itself as an address.

    Raises:
        ReportError: the file cannot be read, or is of a kind that is not embedded.
    """
    if path.suffix not in _MEDIA:
        raise ReportError(f"{path}: expected a file to embed ({', '.join(_MEDIA)})")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ReportError(f"{path}: expected a file to embed, got {error.strerror}") from None
    kind = _MEDIA[path.suffix]
    if path.suffix == ".svg":  # as text: a quarter shorter than base64
        drawn = re.sub(r">\s+<", "><", content.decode())
        drawn = drawn.replace("'", "&apos;").replace('"', "'")
        return f"data:{kind},{quote(drawn, safe=_AS_IT_IS)}"
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def slug(text: str) -> str:
    """``How to read this`` -> ``how-to-read-this``, as GitHub does it."""
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


@dataclass
class Links:
    """The links of one page: other pages and tables become anchors, ``tables`` collects the CSVs.

    Args:
        root: the folder of the report.
        page: name of the page.
        pages: names of all pages in the file.
    """

    root: Path
    page: str
    pages: Collection[str]
    tables: set[str] = field(default_factory=set)

    def anchor(self, part: str = "") -> str:
        """The id of a part of this page, or of the page."""
        return f"{self.page}--{part}" if part else self.page

    def target(self, href: str) -> str | None:
        """An address inside the file or on the web; None: nothing there, keep the words."""
        if re.match(r"https?://", href):
            return href
        path, _, part = href.partition("#")
        if not path:
            return f"#{self.anchor(part)}"
        if path.removesuffix(".md") in self.pages and path.endswith(".md"):
            name = path.removesuffix(".md")
            return f"#{name}--{part}" if part else f"#{name}"
        if path.endswith(".csv") and (self.root / path).is_file():
            self.tables.add(path)
            return f"#{table_anchor(path)}"
        return None

    def image(self, source: str) -> str:
        """An image of the report as data."""
        return data_uri(self.root / source)


def table_anchor(path: str) -> str:
    """The id of a CSV in the list of tables."""
    return f"table--{slug(Path(path).stem)}"
