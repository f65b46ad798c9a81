"""The store of the results of a matrix: a file for each task, written in one step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from emcheck._internal import fingerprint
from emcheck._internal.files import write_all
from emcheck._internal.lock import locked
from emcheck._internal.seal import sealed, unsealed
from emcheck.batch.case import MatrixCase, Record
from emcheck.guard import one_line
from emcheck.ok import spoils
from emcheck.result import Verdict

_ABOUT, _RESULTS = "matrix.json", "results"


class Store:
    """The records below a folder, at most one for each case.

    Args:
        out: the folder.
        made_for: what results depend on besides their case, by name; a kept result that was
            made for another value is not used.
        fresh: whether to drop what is there.

    Raises:
        ValueError: the folder holds results of another state.
        OSError: it cannot be written.
    """

    def __init__(self, out: Path, made_for: Mapping[str, str], fresh: bool = False) -> None:
        self.out = out
        #: A line for each kept result that cannot be used; its case is run again.
        self.broken: list[str] = []
        if fresh:
            for path in self.files:
                path.unlink()
        self._agree(made_for)

    @property
    def files(self) -> list[Path]:
        return sorted((self.out / _RESULTS).glob("*.jsonl"))

    def records(self) -> list[Record]:
        """Return what is kept, see :func:`read_records`; ``broken`` lists what cannot be used."""
        records, self.broken = read_records(self.files)
        return records

    def keep(self, records: Sequence[Record]) -> None:
        """Write the records of one task; its file is named after its cases."""
        name = fingerprint.digest([MatrixCase.of(record) for record in records])
        content = "".join(map(sealed, records))
        write_all(self.out / _RESULTS, {f"{name}.jsonl": content.encode()}, durable=True)

    def _agree(self, made_for: Mapping[str, str]) -> None:
        path = self.out / _ABOUT
        before: dict[str, str] = {}
        if self.files:
            with contextlib.suppress(OSError, ValueError):
                before = unsealed(path.read_text(encoding="utf-8"))
            differ = [name for name in made_for if before.get(name, made_for[name])
                      != made_for[name]] if before else [_ABOUT]  # fmt: skip
            if differ:
                raise ValueError(
                    f"{self.out}: the results kept there were made with another {differ[0]}; "
                    "--fresh drops them, --out names another folder"
                )
        content = sealed(before | dict(made_for)).encode()
        write_all(self.out, {_ABOUT: content}, durable=True)


def read_records(files: Iterable[Path]) -> tuple[list[Record], list[str]]:
    """Return each case once, the failed one of two records of a case; and what cannot be used.

    A line that is torn, or that no checker writes, costs only its own case.
    """
    found: dict[MatrixCase, Record] = {}
    broken = []
    for path in files:
        for number, line in enumerate(path.read_bytes().splitlines(), start=1):
            try:
                record = unsealed(line)
                case, failed = MatrixCase.of(record), _fails(record)
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                told = f"{path}, line {number}: expected a result, got {one_line(error, 80)}"
                broken.append(f"{told}; its case is run again")
                continue
            if case not in found or failed:
                found[case] = record
    return list(found.values()), broken


def _fails(record: Record) -> bool:
    """Whether a record holds something that spoils a report.

    Raises:
        ValueError, KeyError, TypeError: it is no record, or no checker writes it.
    """
    if "reason" in record:
        return True
    verdicts = []
    for result in record["results"]:
        verdict, ratio = Verdict(result["verdict"]), float(result["ratio"])
        if verdict is Verdict.PASS and ratio > float(result["threshold"]):
            raise ValueError(f"a PASS of {result['check']} with {ratio:g} bounds")
        verdicts.append(spoils(result["check"], verdict, result.get("unfinished", 0)))
    return any(verdicts)


@contextlib.contextmanager
def opened(out: Path, made_for: Mapping[str, str], fresh: bool = False) -> Iterator[Store]:
    """Open a store that no other run writes to meanwhile; arguments and errors as for it.

    Raises:
        ValueError: another run writes there.
    """
    out.mkdir(parents=True, exist_ok=True)
    with locked(out / "lock", f"{out}: another run writes there"):
        yield Store(out, made_for, fresh)
