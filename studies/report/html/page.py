"""One Markdown page as HTML, by markdown-it: anchors, embedded images, tables that scroll."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile

from markdown_it import MarkdownIt
from markdown_it.token import Token

from studies.report.html.links import Links, slug

#: Raw HTML that stays as it is; every other tag is shown as text.
_KEPT = re.compile(r"</?(?:details|summary|code)>")


#: A table of so many columns may be wider than the text, in its box.
WIDE = 9


@dataclass(frozen=True)
class Heading:
    """A heading of a page: its level, its words and the id that leads to it."""

    level: int
    text: str
    anchor: str


@dataclass(frozen=True)
class Page:
    """A page as HTML, with its headings in order."""

    name: str
    title: str
    headings: tuple[Heading, ...]
    body: str


def render(text: str, links: Links) -> Page:
    """The page of ``text``; links and images by ``links``.

    Raises:
        ReportError: an image cannot be embedded.
    """
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    tokens = parser.parse(text)
    headings = tuple(_headings(tokens, links))
    _figures(tokens)
    for token in tokens:
        _raw(token)
        _inline(token.children or [], links)
    body = parser.renderer.render(_scrolling(tokens), parser.options, {})
    title = next((h.text for h in headings if h.level == 1), links.page)
    # Cells are numbers unless they say otherwise: there are thousands.
    body = str(body).replace("<td>", '<td class="word">').replace("<th>", '<th class="word">')
    return Page(links.page, title, headings, body.replace(' style="text-align:right"', ""))


def _headings(tokens: Sequence[Token], links: Links) -> Iterator[Heading]:
    """Every heading gets an id, a second one of the same words a number."""
    seen: dict[str, int] = {}
    for index, token in enumerate(tokens):
        if token.type == "heading_open":
            words = "".join(child.content for child in tokens[index + 1].children or [])
            part = slug(words)
            seen[part] = seen.get(part, -1) + 1
            part = f"{part}-{seen[part]}" if seen[part] else part
            level = int(token.tag[1])
            anchor = links.anchor(part)
            token.attrSet("id", anchor)
            yield Heading(level, words, anchor)


def _figures(tokens: Sequence[Token]) -> None:
    """A paragraph that is one image, and the emphasised one after it, get a class each."""
    for index, token in enumerate(tokens):
        if token.type == "inline" and [c.type for c in token.children or []] == ["image"]:
            tokens[index - 1].attrSet("class", "figure")
            after = tokens[index + 2 : index + 4]
            kinds = [child.type for child in (after[1].children or [])] if len(after) == 2 else []
            if kinds[:1] == ["em_open"] and kinds[-1:] == ["em_close"]:
                after[0].attrSet("class", "caption")


def _raw(token: Token) -> None:
    """Folds stay folds; no other tag of a page becomes one of the file."""
    if token.type in ("html_block", "html_inline"):
        kept = _KEPT.findall(token.content)
        rest = [part.replace("<", "&lt;") for part in _KEPT.split(token.content)]
        token.content = "".join(a + b for a, b in zip(rest, [*kept, ""], strict=True))


def _inline(children: list[Token], links: Links) -> None:
    """Images as data, links by what is in the file; where nothing is, the words and the path."""
    found: list[Token] = []
    paths: list[str] = []
    for child in children:
        _raw(child)
        if child.type == "image":
            child.attrSet("src", links.image(str(child.attrGet("src"))))
        elif child.type == "link_open":
            href = str(child.attrGet("href"))
            target = links.target(href)
            paths.append("" if target else href)
            child.attrs = {"href": target or ""}
        last = paths.pop() if child.type == "link_close" else paths[-1] if paths else ""
        if child.type == "link_close" and last:
            found.append(Token("text", "", 0, content=f" ({last})"))
        elif child.type != "link_open" or not last:
            found.append(child)
    children[:] = found


def _scrolling(tokens: Sequence[Token]) -> list[Token]:
    """Every table in a box of its own that scrolls, so that the page never does."""
    found: list[Token] = []
    for index, token in enumerate(tokens):
        if token.type == "table_open":
            box = Token("box_open", "div", 1, block=True)
            box.attrs = {"class": "scroll", "tabindex": "0", "role": "region"}
            found.append(box)
            if _columns(islice(tokens, index, None)) >= WIDE:
                token.attrSet("class", "wide")
        found.append(token)
        if token.type == "table_close":
            found.append(Token("box_close", "div", -1, block=True))
    return found


def _columns(tokens: Iterable[Token]) -> int:
    """The columns of the table that comes first."""
    head = takewhile(lambda token: token.type != "thead_close", tokens)
    return sum(token.type == "th_open" for token in head)
