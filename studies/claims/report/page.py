"""claims.md: the answers in one table, then doubt by doubt."""

from __future__ import annotations

from collections.abc import Sequence

from studies.claims.report.load import Told
from studies.claims.report.words import WORDS, Words
from studies.pages.markdown import csv_link, escape, figure, fold, number, plural, table
from studies.pages.tidy import records

_OPENING = (
    "A reading note on *Emerging Convolutions for Generative Normalizing Flows* (Hoogeboom, van "
    "den Berg, Welling, 2019, arXiv 1901.11137) leaves six doubts; the seventh is ours. Each is "
    "answered here by a claim that is measured: it stands on numbers, every number is compared "
    "with a theorem, a count or a rounding bound, and a test fails when one of them does not "
    "hold. So that none of them holds by accident, each claim is also measured in a world where "
    "it is false, and must fail there. `emcheck claims` repeats all of it in a few minutes."
)


def page(claims: Sequence[Told], figures: Sequence[str]) -> str:
    """The whole page; ``figures`` are the names of those that were drawn."""
    holds = sum(told.holds for told in claims)
    rows = [
        [f"[{told.letter}](#{_anchor(told)})", escape(told.doubt), _word(told),
         escape(told.verdict)]
        for told in claims
    ]  # fmt: skip
    parts = [
        "# The reader's doubts, settled",
        f"**{holds} of {plural(len(claims), 'claim')} hold.**",
        _OPENING,
        table(["", "doubt", "claim", "answer"], rows, left=4),
        *(_section(told, figures) for told in claims),
    ]
    return "\n\n".join(parts) + "\n"


def _words(told: Told) -> Words:
    return WORDS.get(told.name, Words(told.name, "", ()))


def _title(told: Told) -> str:
    return f"{told.letter}. {_words(told).title}"


def _anchor(told: Told) -> str:
    """What GitHub makes of the section's title."""
    kept = [c for c in _title(told).lower() if c.isalnum() or c in " -"]
    return "".join(kept).replace(" ", "-")


def _word(told: Told) -> str:
    return "holds" if told.holds else "not measured" if told.missing else "**does not hold**"


def _section(told: Told, figures: Sequence[str]) -> str:
    words = _words(told)
    parts = [
        f"## {_title(told)}",
        f"> {escape(told.doubt)}",
        f"**Claim.** {escape(told.statement)}",
        f"**Answer: {_word(told).replace('*', '')}.** {escape(told.verdict)}",
        words.text,
    ]
    for picture in words.pictures:
        name = f"claim_{told.letter}_{picture.name}"
        if name in figures:
            parts.append(figure(name, picture.caption))
    if len(told.facts):
        parts.append(fold(f"Evidence: {plural(len(told.facts), 'number')}", _facts(told)))
    worlds = "; ".join(escape(name) for name in told.negations)
    parts.append(f"It fails, as it must, with: {worlds}.")
    if told.tables:
        links = ", ".join(csv_link(f"claim_{told.letter}_{name}") for name in told.tables)
        parts.append(f"Data: {links}")
    return "\n\n".join(part for part in parts if part)


def _facts(told: Told) -> str:
    rows = [
        [escape(row["what"]), number(row["value"], 3), f"{escape(row['relation'])} "
         f"{number(row['bound'], 3)}", "yes" if row["holds"] else "**no**"]
        for row in records(told.facts)
    ]  # fmt: skip
    return table(["number", "measured", "expected", "holds"], rows)
