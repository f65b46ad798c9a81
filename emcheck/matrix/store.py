"""Where the results of a matrix are kept: a file for each task, written in one step."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from emcheck import fingerprint
from emcheck.files import write_all
from emcheck.lock import locked
from emcheck.matrix.case import MatrixCase, Record

_ABOUT, _RESULTS = "matrix.json", "results"


class Store:
    """The records below a folder, at most one for each case.

    Args:
        out: the folder.
        made_for: what results depend on besides their case, by name; a kept result that was
            made for another value is none.
        fresh: drop what is there.

    Raises:
        ValueError: the folder holds results of another state.
        OSError: it cannot be written.
    """

    def __init__(self, out: Path, made_for: Mapping[str, str], fresh: bool = False) -> None:
        self.out = out
        if fresh:
            for path in self.files:
                path.unlink()
        self._agree(made_for)

    @property
    def files(self) -> list[Path]:
        return sorted((self.out / _RESULTS).glob("*.jsonl"))

    def records(self) -> Iterator[Record]:
        """What is kept, each case once.

        Raises:
            ValueError: a file is broken.
        """
        seen = set()
        for path in self.files:
            try:
                records = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
                cases = [MatrixCase.of(record) for record in records]
            except (ValueError, KeyError, TypeError):
                raise ValueError(f"{path}: expected lines of results, got others") from None
            for case, record in zip(cases, records, strict=True):
                if case not in seen:
                    seen.add(case)
                    yield record

    def keep(self, records: Sequence[Record]) -> None:
        """Write the records of one task; its file is named after its cases."""
        name = fingerprint.digest([MatrixCase.of(record) for record in records])
        content = "".join(json.dumps(record) + "\n" for record in records)
        write_all(self.out / _RESULTS, {f"{name}.jsonl": content.encode()}, durable=True)

    def _agree(self, made_for: Mapping[str, str]) -> None:
        path = self.out / _ABOUT
        before: dict[str, str] = {}
        if self.files:
            with contextlib.suppress(OSError, ValueError):
                before = json.loads(path.read_text(encoding="utf-8"))
            differ = [name for name in made_for if before.get(name, made_for[name])
                      != made_for[name]] if before else [_ABOUT]  # fmt: skip
            if differ:
                raise ValueError(
                    f"{self.out}: the results kept there were made with another {differ[0]}; "
                    "--fresh drops them, --out names another folder"
                )
        content = json.dumps(before | dict(made_for), indent=1) + "\n"
        write_all(self.out, {_ABOUT: content.encode()}, durable=True)


@contextlib.contextmanager
def opened(out: Path, made_for: Mapping[str, str], fresh: bool = False) -> Iterator[Store]:
    """A store that nobody else writes to meanwhile; arguments and errors as for it.

    Raises:
        ValueError: another run writes there.
    """
    out.mkdir(parents=True, exist_ok=True)
    with locked(out / "lock", f"{out}: another run writes there"):
        yield Store(out, made_for, fresh)
