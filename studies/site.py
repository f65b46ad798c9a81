"""Hooks of MkDocs: the README, the reports, and one section for each check join the pages of docs.

The section of a check is made from the registries: what it promises, a seeded fault that fails it,
the causes that are named for such faults, and how to waive it.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from emcheck.checks import CHECKS, Check
from emcheck.checks.capabilities import CAPABILITIES
from emcheck.faults import FAULTS
from emcheck.known import Clause

_ROOT = Path(__file__).parents[1]

#: Files that lie outside of docs, and where the site has them.
_PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md"}

#: What else of the reports the pages link to.
_ASSETS = ("reports/*.md", "reports/figures/*.svg", "reports/tables/*.csv")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Called by MkDocs once it knows the files of docs."""
    for source, page in _PAGES.items():
        files.append(File.generated(config, page, content=_moved(source)))
    for path in (path for pattern in _ASSETS for path in sorted(_ROOT.glob(pattern))):
        files.append(File.generated(config, str(path.relative_to(_ROOT)), abs_src_path=str(path)))
    files.append(File.generated(config, "checks.md", content=checks_page()))
    return files


def on_page_markdown(markdown: str, **given: Any) -> str:
    """Called by MkDocs with the text of each page: reports lie beside the guides, not above."""
    return markdown.replace("](../reports/", "](reports/")


def on_page_content(html: str, **given: Any) -> str:
    """Called by MkDocs with each page as HTML: the roles of docstrings say nothing to a reader."""
    return re.sub(r":(?:func|class|mod|meth|data|attr):(?=<code>)", "", html)


def _moved(source: str) -> str:
    """A page of the top folder with its links as the site has them."""
    text = (_ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](")
    for name, page in _PAGES.items():
        text = text.replace(f"]({name})", f"]({page})")
    return text


def checks_page() -> str:
    """One section for each check, by clause."""
    parts = [
        "# The checks",
        "Each check judges one clause of [the contract](contract.md), in float32 and float64, on "
        "several examples. It is itself tested: it must fail on a deliberately broken layer and "
        "pass on the repaired copy.",
    ]
    for clause in (*list(Clause)[1:], Clause.DEFINITION):
        title = str(clause)[0].upper() + str(clause)[1:]
        parts.append(f"## {title}")
        parts += [
            part for check in CHECKS.values() if check.clause is clause for part in _section(check)
        ]
    return "\n\n".join(parts) + "\n"


def _section(check: Check) -> Iterator[str]:
    yield f"### {check.name}"
    yield _code(inspect.cleandoc(check.function.__doc__ or ""))
    if check.house:
        yield "A convention: at most a NOTE for a layer that is not this project's."
    if check.optional:
        yield "It runs only where it is asked for (`compiled=True`, `--compile`)."
    faults = [fault for fault in FAULTS.values() if fault.check == check.name]
    for fault in faults[:1]:
        yield f"A layer that fails it, a broken `{fault.twin.__name__}`: {_code(fault.summary)}"
        yield f'??? example "{fault.name}"'
        source = textwrap.dedent(inspect.getsource(fault.source))
        yield textwrap.indent(f"```python\n{source}```", "    ")
    causes = dict.fromkeys(cause for fault in faults for cause in fault.causes)
    if causes:
        named = ", ".join(f"`{cause}`" for cause in causes)
        yield f"[Usual causes](reading-a-report.md#what-can-be-named): {named}."
    yield _waived(check)


def _waived(check: Check) -> str:
    """How a user does without the check."""
    lacking = [str(need) for need in check.needs if str(need) in CAPABILITIES]
    line = f'To accept a failure: `expected_failures={{"{check.name}": "the reason"}}`.'
    for need in lacking[:1]:
        line += f" A layer that does not promise {CAPABILITIES[need]} says "
        line += f'`capabilities={{"{need}": False}}`.'
    return line


def _code(text: str) -> str:
    """The double backticks of a docstring as single ones."""
    return text.replace("``", "`")
