"""Read the two inputs: pytest-benchmark files and the JSON lines of the properties."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from studies.pages.errors import ReportError
from studies.pages.fields import CELL, CONTEST, CONTESTS, MACHINE, PROPERTIES, STATS
from studies.pages.schema import Field, Record, fail, loose, parse_json, read_record


@dataclass(frozen=True)
class BenchmarkFile:
    """One pytest-benchmark file: the machine it came from and one record per benchmark."""

    name: str
    date: str
    machine: Record
    rows: list[Record]


@dataclass(frozen=True)
class Properties:
    """The records of one properties file, by kind, in the order of the file."""

    records: dict[str, list[Record]] = field(default_factory=dict)

    def of(self, kind: str) -> list[Record]:
        """The records of one kind, none where the file holds none."""
        return self.records.get(kind, [])


@dataclass(frozen=True)
class Contests:
    """One file of contests: the machine, and one record per process and competitor."""

    header: Record
    rows: list[Record]


def read_contests(path: Path) -> Contests:
    """The JSON lines that ``emcheck compare`` writes.

    Raises:
        ReportError: the file is missing or empty, or a line is broken (it is named).
    """
    header: Record | None = None
    rows = []
    for index, line in enumerate(content_of(path, "a file of contests").splitlines()):
        where = f"{path}: line {index + 1}"
        record = parse_json(line, where)
        kind = record.get("kind") if isinstance(record, dict) else None
        if kind == "contests":
            header = read_record(record, CONTESTS, where)
        elif kind == "contest":
            rows.append(read_record(record, CONTEST, where))
        else:
            fail(where, "an object whose kind is contests or contest", record)
    if header is None or not rows:
        raise ReportError(f"{path}: expected a header and at least one contest, got neither")
    return Contests(header, rows)


def content_of(path: Path, what: str) -> str:
    """The text of an input, or one line about why there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ReportError(f"{path}: expected {what}, got no such file") from None
    except UnicodeDecodeError:
        raise ReportError(f"{path}: expected {what}, got bytes that are not UTF-8 text") from None
    except OSError as error:
        raise ReportError(f"{path}: expected {what}, got {error.strerror}") from None


def _benchmark_row(benchmark: Record, where: str) -> Record:
    """One benchmark, its times in seconds per call: rounds divided by ``calls_per_round``.

    pytest-benchmark forms ``median`` and ``iqr`` from ``data``, so all three are in the
    same unit, seconds per round, and all three are divided.
    """
    row = read_record(benchmark.get("extra_info"), CELL, f"{where}: extra_info")
    stats = read_record(benchmark.get("stats"), STATS, f"{where}: stats")
    if stats["median"] <= 0 or min(stats["data"], default=0) < 0:
        least = min(stats["median"], min(stats["data"], default=0))
        fail(f"{where}: stats", "a positive median and no negative time", least)
    calls = row.pop("calls_per_round")
    row["calls_per_round"] = calls
    row["seconds"] = [value / calls for value in stats["data"]]
    row["median"], row["iqr"] = stats["median"] / calls, stats["iqr"] / calls
    row["rounds"] = len(stats["data"]) or stats["rounds"]
    return row


def read_benchmarks(path: Path) -> BenchmarkFile:
    """One pytest-benchmark JSON file, checked field by field.

    Raises:
        ReportError: the file is missing, is not JSON, is not from ``pytest benches``, or
            holds no benchmark.
    """
    what = "a pytest-benchmark JSON file"
    content = parse_json(content_of(path, what), str(path))
    if not isinstance(content, dict) or not isinstance(content.get("benchmarks"), list):
        came = sorted(content) if isinstance(content, dict) else content
        fail(str(path), f"{what} with a list 'benchmarks'", came)
    if not content["benchmarks"]:
        raise ReportError(f"{path}: expected at least one benchmark, got an empty list")
    info = content.get("machine_info")
    machine_info = read_record(info, {"emcheck": Field(lambda v: v)}, f"{path}: machine_info")
    where = f"{path}: machine_info: emcheck"
    rows = []
    for index, benchmark in enumerate(content["benchmarks"]):
        place = f"{path}: benchmark {index + 1}"
        if not isinstance(benchmark, dict):
            fail(place, "an object", benchmark)
        rows.append(_benchmark_row(benchmark, f"{place} ({benchmark.get('name', 'no name')})"))
    machine = read_record(machine_info["emcheck"], MACHINE, where)
    return BenchmarkFile(path.name, loose(content.get("datetime", "unknown")), machine, rows)


def read_properties(*paths: Path) -> Properties:
    """The records of several files of ``pytest properties`` together, one for each device.

    Raises:
        ReportError: as for one of them.
    """
    parts = [_read_properties(path) for path in paths]
    return Properties({kind: [r for part in parts for r in part.of(kind)] for kind in PROPERTIES})


def _read_properties(path: Path) -> Properties:
    """The JSON lines that ``pytest properties`` writes; blank lines are skipped.

    Raises:
        ReportError: the file is missing or empty, or a line is broken (it is named).
    """
    what = "a file of JSON lines from pytest properties"
    records: dict[str, list[Record]] = {kind: [] for kind in PROPERTIES}
    for index, line in enumerate(content_of(path, what).split("\n")):
        if not line.strip():
            continue
        where = f"{path}: line {index + 1}"
        record = parse_json(line, where)
        kind = record.get("kind") if isinstance(record, dict) else None
        if not isinstance(kind, str) or kind not in PROPERTIES:
            fail(where, "an object whose kind is " + ", ".join(PROPERTIES), record)
        values = read_record(record, PROPERTIES[kind], f"{where} ({kind})")
        if kind == "check" and values["ill_conditioned"] > values["examples"]:
            fail(
                f"{where} (check): ill_conditioned",
                f"at most the {values['examples']} examples",
                values["ill_conditioned"],
            )
        records[kind].append(values)
    if not any(records.values()):
        raise ReportError(f"{path}: expected at least one record, got an empty file")
    return Properties(records)
