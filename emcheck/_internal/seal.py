"""Kept lines of JSON with a version and a checksum: a line that was changed or torn is none."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

#: Of the lines; a reader knows no other.
_VERSION = 1

_SEAL = "seal"


def sealed(record: Mapping[str, Any]) -> str:
    """The record as one line with its end."""
    return json.dumps(with_seal(record)) + "\n"


def with_seal(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record, and as its last entry ``"seal": "version:checksum"``."""
    return {**record, _SEAL: f"{_VERSION}:{_checksum(record)}"}


def unsealed(line: str | bytes) -> dict[str, Any]:
    """The record of a line.

    Raises:
        ValueError: it is torn, was changed, was never sealed, or is of another version.
    """
    record = json.loads(line)
    if not is_sealed(record):
        raise ValueError("a line without seal")
    return opened(record)


def is_sealed(record: object) -> bool:
    """Whether what JSON has read is an object with a seal."""
    return isinstance(record, dict) and isinstance(record.get(_SEAL), str)


def opened(record: Mapping[str, Any]) -> dict[str, Any]:
    """A sealed object without its seal.

    Raises:
        ValueError: it was changed, or is of another version.
    """
    content = {key: value for key, value in record.items() if key != _SEAL}
    seal = str(record[_SEAL])
    version, _, checksum = seal.partition(":")
    if version != str(_VERSION):
        raise ValueError(f"a line of format {version}, of which this version knows only {_VERSION}")
    if checksum != _checksum(content):
        raise ValueError("a line that does not agree with its checksum")
    return content


def _checksum(record: Mapping[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(record).encode()):08x}"
