"""What a shell completes: layers and checks by name, read without loading torch."""

from __future__ import annotations

from emcheck.cli import catalogue


def targets(incomplete: str) -> list[tuple[str, str]]:
    """Registered layers that begin so."""
    return [(name, told) for name, told in catalogue.layers() if name.startswith(incomplete)]


def checks(incomplete: str) -> list[tuple[str, str]]:
    """Checks that begin so."""
    return [(name, told) for name, told in catalogue.checks() if name.startswith(incomplete)]
