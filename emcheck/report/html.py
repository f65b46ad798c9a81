"""A report as HTML: for a notebook, and as a page of its own."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from emcheck.report.rows import rows_of
from emcheck.result import Result, Verdict

#: Readable on white and on black.
_COLOURS = {
    Verdict.PASS: "#2e9e4f",
    Verdict.FAIL: "#e0403a",
    Verdict.XPASS: "#e0403a",
    Verdict.ILL_CONDITIONED: "#c08a00",
    Verdict.NOT_RUN: "#c08a00",
    Verdict.NOTE: "#3a8fb7",
}
_GREY = "#888888"

_CELL = "padding:1px 12px 1px 0;text-align:left;vertical-align:top"

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>body {{ font: 15px/1.45 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto;
padding: 0 1rem }} pre {{ white-space: pre-wrap; overflow-wrap: anywhere }}</style>
</head><body>
{body}
</body></html>
"""


def fragment(
    headline: str,
    scope: Sequence[str],
    findings: Sequence[Sequence[str]],
    diagnosis: Sequence[str],
    results: Sequence[Result],
    ok: bool,
) -> str:
    """Return HTML for a notebook: verdict, findings unfolded, all results folded.

    Args:
        headline: the layer and the verdict, and how much ran, in two lines.
        scope: what was checked, line by line.
        findings: for each a title and lines about it.
        diagnosis: what is most likely wrong, line by line.
        results: one for each check and dtype.
        ok: whether nothing spoils the report.
    """
    first, *counts = headline.splitlines()
    colour = _COLOURS[Verdict.PASS if ok else Verdict.FAIL]
    parts = [f'<div style="border-left:4px solid {colour};padding-left:12px">']
    parts += [f"<p><b>{escape(first)}</b><br>{escape(' '.join(counts))}</p>"]
    if scope:
        parts.append(f'<p style="color:{_GREY}">{"<br>".join(map(escape, scope))}</p>')
    parts += [_folded(finding[0].strip(), finding[1:], "open") for finding in findings]
    if diagnosis:
        parts.append(f"<pre>{escape(chr(10).join(diagnosis))}</pre>")
    table = _table(results)
    parts.append(f"<details><summary>all {len(results)} results</summary>{table}</details></div>")
    return "\n".join(parts)


def page(title: str, fragments: Sequence[str]) -> str:
    """Return a document of its own, which loads nothing from elsewhere."""
    return _PAGE.format(title=escape(title), body="\n<hr>\n".join(fragments))


def _folded(title: str, lines: Sequence[str], state: str) -> str:
    told = escape("\n".join(line.strip() for line in lines))
    return (
        f"<details {state}><summary><code>{escape(' '.join(title.split()))}</code></summary>"
        f'<pre style="margin:4px 0 10px 18px">{told}</pre></details>'
    )


def _table(results: Sequence[Result]) -> str:
    """Return a row for each check, as the command line shows it."""
    dtypes = sorted({result.dtype for result in results})
    heads = ["check", *dtypes, "error / bound"]
    lines = ["".join(f'<th style="{_CELL}">{escape(head)}</th>' for head in heads)]
    for name, verdicts, share in rows_of(results):
        cells = [f"<code>{escape(name)}</code>"]
        cells += [_coloured(verdicts[dtype]) if dtype in verdicts else "" for dtype in dtypes]
        lines.append("".join(f'<td style="{_CELL}">{cell}</td>' for cell in (*cells, share)))
    rows = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<table style="border-collapse:collapse">{rows}</table>'


def _coloured(verdict: Verdict) -> str:
    return f'<span style="color:{_COLOURS.get(verdict, _GREY)}">{escape(str(verdict))}</span>'
