"""Completions for a shell: layers and checks by name, read without loading torch."""

from __future__ import annotations

from emcheck.cli import catalogue


def targets(incomplete: str) -> list[tuple[str, str]]:
    """Return the registered layers that begin with ``incomplete``."""
    return [(name, told) for name, told in catalogue.layers() if name.startswith(incomplete)]


def checks(incomplete: str) -> list[tuple[str, str]]:
    """Return the checks that begin with ``incomplete``."""
    return [(name, told) for name, told in catalogue.checks() if name.startswith(incomplete)]
