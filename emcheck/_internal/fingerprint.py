"""A digest for a state of the source: what is kept belongs to one, or is made anew."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

PACKAGE = Path(__file__).parents[1]

#: Packages whose versions change numbers.
_VERSIONS = ("torch", "numpy", "scipy", "numba", "hypothesis", "pytest")


def digest(*parts: object) -> str:
    """Return sixteen characters that are the same for the same parts."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def of_sources(*places: Path) -> str:
    """Return the digest of files, of Python files below folders, and of the versions in use."""
    versions = [(name, _version(name)) for name in _VERSIONS]
    return digest(versions, *(_content(place) for place in places))


def _content(place: Path) -> list[tuple[str, str]]:
    """Return relative name and digest of the content of each file."""
    files: Iterable[Path] = sorted(place.rglob("*.py")) if place.is_dir() else [place]
    return [
        (path.relative_to(place.parent).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest())
        for path in files
        if path.is_file()
    ]


def _version(name: str) -> str:
    """Return the version of a package, empty if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
