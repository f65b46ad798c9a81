"""Kept lines of JSON with a version and a checksum: a changed or torn line is not valid."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

#: The version of the lines; a reader knows no other.
_VERSION = 1

_SEAL = "seal"


def sealed(record: Mapping[str, Any]) -> str:
    """Return the record as one line with its line end."""
    return json.dumps(with_seal(record)) + "\n"


def with_seal(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record with a last entry ``"seal": "version:checksum"``."""
    return {**record, _SEAL: f"{_VERSION}:{_checksum(record)}"}


def unsealed(line: str | bytes) -> dict[str, Any]:
    """Return the record of a line.

    Raises:
        ValueError: it is torn, was changed, was never sealed, or is of another version.
    """
    record = json.loads(line)
    if not _is_sealed(record):
        raise ValueError("a line without seal")
    content: dict[str, Any] = without_seal(record)
    return content


def _is_sealed(found: object) -> bool:
    return isinstance(found, dict) and isinstance(found.get(_SEAL), str)


def without_seal(found: Any) -> Any:
    """Return what JSON has read, without its seal; what has none is returned unchanged.

    Raises:
        ValueError: it was changed, or is of another version.
    """
    if not _is_sealed(found):
        return found
    content = {key: value for key, value in found.items() if key != _SEAL}
    seal = found[_SEAL]
    version, _, checksum = seal.partition(":")
    if version != str(_VERSION):
        raise ValueError(f"a line of format {version}, of which this version knows only {_VERSION}")
    if checksum != _checksum(content):
        raise ValueError("a line that does not agree with its checksum")
    return content


def _checksum(record: Mapping[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(record).encode()):08x}"
