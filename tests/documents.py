"""What a page of documentation holds: blocks, links, headings, command lines."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import typer

from emcheck.cli.main import app

ROOT = Path(__file__).parent.parent

#: Pages whose Python is run.
WRITTEN = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

#: All pages whose links are followed; those of the reports are made by programs.
LINKED = [*WRITTEN, *sorted((ROOT / "reports").glob("*.md"))]


@dataclass(frozen=True)
class Block:
    """Code between two fences: its language, its text and the line of the first fence."""

    language: str
    text: str
    line: int


@dataclass(frozen=True)
class Page:
    """One Markdown file of the project."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def blocks(self) -> list[Block]:
        found = re.finditer(r"^```(\w*)\n(.*?)^```$", self.text, re.DOTALL | re.MULTILINE)
        return [Block(m[1], m[2], self.text.count("\n", 0, m.start()) + 1) for m in found]

    @property
    def python(self) -> list[Block]:
        return [block for block in self.blocks if block.language == "python"]

    @property
    def shell(self) -> list[Block]:
        return [block for block in self.blocks if block.language == "sh"]

    @property
    def module(self) -> str:
        """The module that the page writes (``Put this into `mine.py```), else its own name."""
        told = re.search(r"[Pp]ut\s+this\s+into\s+`([\w/]+)\.py`", self.text)
        return told[1].replace("/", ".") if told else self.path.stem.replace("-", "_")

    @cached_property
    def prose(self) -> str:
        """The text without blocks and without code in the line."""
        text = re.sub(r"^```.*?^```$", "", self.text, flags=re.DOTALL | re.MULTILINE)
        return re.sub(r"`[^`\n]+`", lambda m: m[0].replace("]", " ").replace("(", " "), text)

    def targets(self) -> list[str]:
        """Where relative links and images lead, fragments included."""
        found = re.findall(r"\]\(([^)\s]+)\)", self.prose) + re.findall(
            r"(?:src|href)=\"([^\"]+)\"", self.prose
        )
        return [target for target in found if not re.match(r"[a-z]+:", target)]

    @cached_property
    def anchors(self) -> set[str]:
        """The fragments of the page's headings, as GitHub makes them."""
        headings = re.findall(r"^#+ (.+)$", re.sub(r"(?ms)^```.*?^```$", "", self.text), re.M)
        return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


def emcheck_commands(block: Block) -> list[list[str]]:
    """The arguments of every ``emcheck ...`` command in a shell block."""
    commands = []
    for line in block.text.replace("\\\n", " ").splitlines():
        for part in re.split(r"&&|\|\||;|\|", line):
            words = shlex.split(part, comments=True)
            while words and re.fullmatch(r"\w+=\S*", words[0]):  # an environment variable
                words.pop(0)
            if words and Path(words[0]).name == "emcheck":
                commands.append(words[1:])
            if "-m" in words and words[words.index("-m") + 1 :][:1] == ["emcheck"]:
                commands.append(words[words.index("-m") + 2 :])
    return commands


def misparsed(arguments: list[str]) -> str:
    """What is wrong with a command line of emcheck, which is not run; empty if nothing is."""
    command: Any = typer.main.get_command(app)
    context, name = None, "emcheck"
    try:
        while True:
            context = command.make_context(name, list(arguments), parent=context)
            if not hasattr(command, "resolve_command"):
                return ""
            rest = [*getattr(context, "_protected_args", []), *context.args]
            name, command, arguments = command.resolve_command(context, rest)
    except Exception as error:  # the class lives in click or in typer, depending on the version
        told = getattr(error, "format_message", None)
        return str(told() if told else error)
