"""The outcome of one self-test."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from emcheck._internal.files import write_file


@dataclass(frozen=True)
class Canary:
    """The outcome of one self-test: ``ok`` requires ``ratio = error / bound <= threshold``.

    A hang, a crash and an error message of a library are not ok; the first two have an infinite
    ratio. ``repair`` is one line, empty if ok; ``repaired`` says whether that repair was tried in
    a fresh process and made the self-test pass (``None``: nothing to repair). ``cases`` counts
    comparisons, ``threads`` is torch's thread count in the child; both are 0 if it broke down.

    >>> canary = Canary("qr", True, 0.2, 10.0, 1.5, "")
    >>> canary.to_record()["kind"], canary.repaired is None
    ('canary', True)
    """

    name: str
    ok: bool
    ratio: float
    threshold: float
    seconds: float
    detail: str
    repair: str = ""
    repaired: bool | None = None
    cases: int = 0
    threads: int = 0

    def to_record(self) -> dict[str, Any]:
        """Return a flat dictionary of JSON types (non-finite numbers become strings)."""
        record: dict[str, Any] = {"kind": "canary", **asdict(self)}
        for key in ("ratio", "threshold"):
            value = record[key]
            record[key] = value if math.isfinite(value) else str(value)
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Canary:
        """The inverse of :meth:`to_record`."""
        given = {key: value for key, value in record.items() if key != "kind"}
        return cls(**given | {key: float(given[key]) for key in ("ratio", "threshold")})


def write_canaries(canaries: Iterable[Canary], path: Path) -> None:
    """Write one line of JSON for each."""
    lines = "".join(json.dumps(canary.to_record()) + "\n" for canary in canaries)
    write_file(path, lines.encode())


def read_canaries(path: Path) -> tuple[Canary, ...]:
    """Read what :func:`write_canaries` wrote."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(Canary.from_record(json.loads(line)) for line in lines)
