"""Every entry through ``check_layer``, one line of JSON each."""

from __future__ import annotations

import importlib.metadata
import platform
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from emcheck._internal.files import growing
from emcheck._internal.seal import sealed
from emcheck.checks import CHECKS
from emcheck.guard import foreign, one_line
from emcheck.kit import Report, check_layer
from emcheck.result import Result, Verdict
from studies.survey.entries import LIBRARIES, SURVEYED, Entry, entries

#: Called with how many layers are done, and of how many.
Progress = Callable[[int, int], None]

COULD_NOT_RUN = "could not run"

#: Verdicts whose results are kept one by one; of the others, how many.
_KEPT = (Verdict.FAIL, Verdict.XPASS, Verdict.NOTE, Verdict.ILL_CONDITIONED)


def survey(
    libraries: Sequence[str] = tuple(SURVEYED),
    seed: int = 0,
    out: Path = Path("reports/data/survey.jsonl"),
    progress: Progress | None = None,
) -> Path:
    """Run the kit over every entry of the libraries and write one line for each layer.

    Lines are appended to ``.<name>.part`` beside ``out``, which takes its name when all are there;
    what an interrupted survey has written stays in the part.

    Args:
        libraries: among :data:`studies.survey.SURVEYED`.
        seed: as in ``check_layer``; the layers themselves are the same for every seed.
        out: the file of JSON lines.
        progress: called after every layer.

    Raises:
        ValueError: a library that is not surveyed, or none that is installed.
                    another process that surveys there, a file that cannot be written.
    """
    listed = {library: _listed(library) for library in libraries}
    chosen = [entry for found in listed.values() for entry in found or ()]
    if not chosen:
        raise ValueError(f"expected a library that is installed, got {', '.join(libraries)}")
    with growing(out) as file:
        _append(file, _header(listed, seed))
        for done, entry in enumerate(chosen):
            _append(file, examine(entry, seed))
            if progress is not None:
                progress(done + 1, len(chosen))
    return out


def examine(entry: Entry, seed: int = 0) -> dict[str, Any]:
    """One line of the survey; a layer that cannot run is one too, with the reason."""
    row: dict[str, Any] = {
        "kind": "layer",
        "library": entry.library,
        "name": entry.name,
        "event": list(entry.event),
        "note": entry.note,
    }
    try:
        report = check_layer(lambda: entry.build(None), entry.event, seed=seed)
    except foreign() as error:  # of others' code, which may raise anything, or of the kit itself
        reason, named = one_line(error), isinstance(error, ValueError)
        return row | {
            "verdict": COULD_NOT_RUN,
            "reason": reason if named else f"{type(error).__name__}: {reason}",
        }
    return row | _found(report)


def _found(report: Report) -> dict[str, Any]:
    families: dict[str, Counter[str]] = {}
    for result in report.results:
        counts = families.setdefault(CHECKS[result.check].family, Counter())
        counts[result.verdict.value] += 1
    explained = [
        {"cause": e.cause, "text": e.text, "evidence": e.evidence, "checks": list(e.checks)}
        for e in report.explanations
    ]
    return {
        "verdict": "ok" if report.ok else "NOT OK",
        "examples": report.examples,
        "families": {name: dict(counts) for name, counts in families.items()},
        "unproven": list(report.unproven),
        "scope": list(report.scope),
        "results": [_record(r) for r in report.results if r.verdict in _KEPT],
        "unsupported": sorted({r.check for r in report.results if _unsupported(r)}),
        "explanations": explained,
    }


def _unsupported(result: Result) -> bool:
    return result.verdict is Verdict.UNSUPPORTED


def _record(result: Result) -> dict[str, Any]:
    left_out = ("layer", "device", "ill_conditioned")
    return {key: value for key, value in result.to_record().items() if key not in left_out}


def _listed(library: str) -> tuple[Entry, ...] | None:
    """The entries, or None where the library is not installed."""
    try:
        return entries(library)
    except ImportError:
        return None


def _header(listed: dict[str, tuple[Entry, ...] | None], seed: int) -> dict[str, Any]:
    versions = {library: _version(library) for library in listed}
    return {
        "kind": "survey",
        "seed": seed,
        "emcheck": importlib.metadata.version("emcheck"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "libraries": versions,
        "layers": {library: len(found or ()) for library, found in listed.items()},
    }


def _version(library: str) -> str:
    """The version of a library, ``""`` for what is written here or not installed."""
    if library not in LIBRARIES:
        return ""
    if library.startswith("torch."):
        return str(torch.__version__)  # with its build, which the metadata leave out
    try:
        return importlib.metadata.version(library.partition(".")[0])
    except importlib.metadata.PackageNotFoundError:
        return ""


def _append(file: Any, record: dict[str, Any]) -> None:
    file.write(sealed(record).encode())
