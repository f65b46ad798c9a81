"""From the Markdown of a report to one HTML file."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template

from emcheck._internal.files import write_file
from studies.pages.errors import ReportError
from studies.pages.load import content_of
from studies.report.html.links import Links, data_uri, table_anchor
from studies.report.html.page import Page, render

#: The pages in their order, each with its name in the navigation.
PAGES = {
    "summary": "Summary",
    "claims": "Claims",
    "choosing": "Which one",
    "density": "Density",
    "survey": "Survey",
    "details": "Details",
}

#: Name of the file below the folder of the report.
DEFAULT = "report.html"

#: Largest CSV inside of the file, in KiB.
LARGEST = 8


def target_of(out: Path, name: str = "") -> Path:
    """The file of that name, or the default one below ``out``.

    Raises:
        ReportError: the name does not end in .html, as that of a measurement would not.
    """
    if name and not name.endswith(".html"):
        raise ReportError(f"{name}: expected a file name that ends in .html")
    return Path(name) if name else out / DEFAULT


def write_html(out: Path, target: Path | None = None) -> Path:
    """Write the pages that are below ``out`` as one file.

    The same pages give the same bytes; nothing in the file leads a browser to load another.

    Args:
        out: the folder of the report.
        target: the file, ``report.html`` in that folder where None.

    Raises:
        ReportError: no page is there, an image of one is missing, or the file cannot be written.
    """
    target = target if target is not None else out / DEFAULT
    names = [name for name in PAGES if (out / f"{name}.md").is_file()]
    if not names:
        raise ReportError(f"{out}: expected a page ({', '.join(PAGES)}), got none")
    pages, tables = [], set()
    for name in names:
        links = Links(out, name, names)
        pages.append(render(content_of(out / f"{name}.md", "a page"), links))
        tables |= links.tables
    write_file(target, document(pages, out, sorted(tables)).encode())
    return target


def document(pages: Sequence[Page], out: Path, tables: Sequence[str]) -> str:
    """The whole file: navigation, pages, tables."""
    here = files(__package__)
    parts = {
        "title": html.escape(pages[0].title),
        "style": here.joinpath("style.css").read_text(encoding="utf-8"),
        "navigation": "\n".join(_entry(page) for page in pages),
        "pages": "\n".join(_article(page) for page in pages),
        "tables": "\n".join(_download(out, path) for path in tables),
    }
    return Template(here.joinpath("template.html").read_text(encoding="utf-8")).substitute(parts)


def _article(page: Page) -> str:
    return f'<article class="page" id="{page.name}">\n{page.body}</article>'


def _entry(page: Page) -> str:
    """A page in the navigation, with its sections."""
    sections = "".join(
        f'<li><a href="#{h.anchor}">{html.escape(h.text.split(":")[0])}</a></li>'
        for h in page.headings
        if h.level == 2
    )
    head = f'<a href="#{page.name}">{PAGES[page.name]}</a>'
    return f"<li>{head}<ul>{sections}</ul></li>"


def _download(out: Path, path: str) -> str:
    """A CSV that a click saves; a large one is named, as a file beside this one."""
    name = Path(path).name
    size = math.ceil((out / path).stat().st_size / 1024)
    if size > LARGEST:
        beside = f"{html.escape(path)} beside this file"
        return f'<li id="{table_anchor(path)}">{beside} <span class="size">{size:,} KiB</span></li>'
    link = (
        f'<a download="{html.escape(name)}" href="{data_uri(out / path)}">{html.escape(name)}</a>'
    )
    return f'<li id="{table_anchor(path)}">{link} <span class="size">{size:,} KiB</span></li>'
