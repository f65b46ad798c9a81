"""From input files to a written report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emcheck._internal.files import write_all
from studies.claims.report import claims_frame, read_told
from studies.density.folders import DECAYING_RATE
from studies.density.report.load import read_density
from studies.pages.csv import csv_bytes
from studies.pages.errors import ReportError
from studies.pages.load import Properties, read_benchmarks, read_contests, read_properties
from studies.report.figures import draw_all
from studies.report.frames import build, csv_tables
from studies.report.origins import origins
from studies.report.summary import details, summary
from studies.survey.lines import load
from studies.survey.reading import read_survey

DATA = Path("reports") / "data"


def default_inputs(data: Path = DATA) -> tuple[list[Path], list[Path], Path | None]:
    """``benchmarks*.json``, ``properties*.jsonl`` and ``contests.jsonl``, those that are there."""
    contests = data / "contests.jsonl"
    return (
        sorted(data.glob("benchmarks*.json")),
        sorted(data.glob("properties*.jsonl")),
        contests if contests.exists() else None,
    )


def write_report(
    benchmarks: Sequence[Path],
    properties: Path | Sequence[Path] | None,
    out: Path,
    contests: Path | None = None,
    density: Path | None = None,
    survey: Path | None = None,
    claims: Path | None = None,
) -> Path:
    """Write summary.md, details.md, tables/*.csv and figures/*.svg below ``out``.

    The same input gives the same bytes. Everything is built before the first file is
    touched, so an error leaves an earlier report as it was; files of an earlier report that
    this one does not write stay where they are.

    Args:
        benchmarks: pytest-benchmark JSON files, from one machine or several, in any order.
        properties: the JSON lines of ``pytest properties``, a file or one for each device.
        out: the folder of the report, created where needed.
        contests: the JSON lines of ``emcheck compare``, or None where there are none.
        density: the folder of ``emcheck density sweep``, or None where there is none; its own
            page is written by :func:`studies.density.report.write_density`.
        survey: the JSON lines of ``emcheck survey``, or None where there are none.
        claims: the folder of ``emcheck claims``, or None where there is none.

    Returns:
        The path of summary.md.

    Raises:
        ReportError: an input is missing or broken, there is no input, or ``out`` cannot be
            written. One line, with the file's name.
    """
    found = [properties] if isinstance(properties, Path) else list(properties or ())
    if not benchmarks and not found and contests is None:
        raise ReportError("expected a benchmark file or a properties file, got neither")
    ordered = sorted(set(benchmarks), key=lambda path: (path.name, str(path)))
    files = [read_benchmarks(path) for path in ordered]
    checked = read_properties(*found) if found else Properties()
    raced = read_contests(contests) if contests is not None else None
    trained = {path.name: read_density(path) for path in _sweeps(density)}
    told = read_told(claims) if claims is not None else []
    frames = build(
        files,
        checked,
        raced,
        trained,
        read_survey(survey) if survey is not None else None,
        claims_frame(told),
        origins(
            files, checked, raced, load(survey)[0] if survey is not None else None, told, trained
        ),
    )
    contents: dict[str, bytes] = {}
    for name, frame in csv_tables(frames).items():
        contents[f"tables/{name}.csv"] = csv_bytes(frame)
    for name, svg in draw_all(frames).items():
        contents[f"figures/{name}.svg"] = svg
    contents["details.md"] = details(frames).encode()
    contents["summary.md"] = summary(frames).encode()
    write_all(out, contents)
    return out / "summary.md"


def _sweeps(density: Path | None) -> list[Path]:
    """The folder of a sweep, and that of the sweep over the length of training beside it."""
    if density is None:
        return []
    longer = density.with_name(DECAYING_RATE.name)
    return [density, longer] if (longer / "cells").is_dir() else [density]
