"""Every entry through ``check_layer``, one line of JSON each."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from emcheck._internal.files import growing
from emcheck._internal.machine import describe_machine
from emcheck._internal.seal import sealed
from emcheck.checks import CHECKS
from emcheck.densities import check_density
from emcheck.guard import foreign, one_line
from emcheck.kit import Report, check_layer
from emcheck.result import Result, Verdict
from studies.survey.entries import DISTRIBUTIONS, LIBRARIES, SURVEYED, Entry, entries
from studies.survey.lines import COULD_NOT_RUN as COULD_NOT_RUN
from studies.survey.lines import load

#: Called with how many layers are done, and of how many.
Progress = Callable[[int, int], None]

#: Seconds for one check on one example: a survey is not to depend on what else the machine does.
LONGEST = 300.0

#: Verdicts whose results are kept one by one; of the others, how many.
_KEPT = (Verdict.FAIL, Verdict.XPASS, Verdict.NOTE, Verdict.ILL_CONDITIONED)


def survey(
    libraries: Sequence[str] = tuple(SURVEYED),
    seed: int = 0,
    out: Path = Path("reports/data/survey.jsonl"),
    progress: Progress | None = None,
    resume: bool = False,
) -> Path:
    """Run the kit over every entry of the libraries and write one line for each layer.

    Library by library ``out`` is written anew: the lines of this one in place of its old ones,
    those of others kept. While a library runs they grow in ``.<name>.part`` beside ``out``.

    Args:
        libraries: among :data:`studies.survey.SURVEYED`. One that is not installed keeps the
            lines that it has.
        seed: as in ``check_layer``; the layers themselves are the same for every seed.
        out: the file of JSON lines.
        progress: called after every layer.
        resume: leave out libraries whose lines are there, for this version and these layers.

    Raises:
        ValueError: a library that is not surveyed, none that is installed, a file of another
                    seed, another process that surveys there, a file that cannot be written.
    """
    listed = {library: found for library in libraries if (found := _listed(library)) is not None}
    if not listed:
        raise ValueError(f"expected a library that is installed, got {', '.join(libraries)}")
    if resume:
        listed = {name: found for name, found in listed.items() if not _there(out, name, found)}
    done, total = 0, sum(map(len, listed.values()))
    for library, found in listed.items():
        header, kept = _before(out, library, len(found), seed)
        with growing(out) as file:
            _append(file, header)
            for row in rows_of(library, range(len(found)), seed):
                _append(file, row)
                done += 1
                if progress is not None:
                    progress(done, total)
            for row in kept:
                _append(file, row)
    return out


def missing(libraries: Sequence[str]) -> list[str]:
    """The libraries that are not installed here."""
    return [library for library in libraries if _listed(library) is None]


def _there(out: Path, library: str, found: Sequence[Entry]) -> bool:
    """Whether ``out`` has the layers of a library, at the version that is installed."""
    if not out.exists():
        return False
    header, rows = load(out)
    names = {row["name"] for row in rows if row["library"] == library}
    return header["libraries"].get(library) == version_of(library) and names == {
        entry.name for entry in found
    }


def _before(
    out: Path, library: str, layers: int, seed: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The header with a library that runs now, and the lines of the others."""
    header, rows = load(out) if out.exists() else (_header(seed), [])
    if header["seed"] != seed:
        raise ValueError(f"{out}: expected a survey of seed {seed}, got seed {header['seed']}")
    kept = [row for row in rows if row["library"] != library]
    present = _header(seed)
    versions = header["libraries"] | {library: version_of(library)}
    counts = header["layers"] | {library: layers}
    order = [name for name in SURVEYED if name in versions]
    before = {key: header[key] for key in ("torch", "python")}
    machines = dict.fromkeys(order, before) | header.get("machines", {})
    machines[library] = describe_machine()
    for key in before:
        present[key] = " and ".join(dict.fromkeys(machines[name][key] for name in order))
    present["machines"] = {name: machines[name] for name in order}
    present["libraries"] = {name: versions[name] for name in order}
    present["layers"] = {name: counts[name] for name in order}
    return present, kept


def rows_of(library: str, places: Iterable[int], seed: int) -> Iterator[dict[str, Any]]:
    """The lines of a library, one by one, from a process of its own.

    Libraries change settings of the process that layers of others obey: the import of pyro turns
    the argument checks of ``torch.distributions`` on, that of zuko turns them off.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
        for place in places:
            yield alone.submit(_row, library, place, seed).result()


def _row(library: str, place: int, seed: int) -> dict[str, Any]:
    return examine(entries(library)[place], seed)


def examine(entry: Entry, seed: int = 0) -> dict[str, Any]:
    """One line of the survey; a layer that cannot run is one too, with the reason."""
    row: dict[str, Any] = {
        "kind": "layer",
        "library": entry.library,
        "name": entry.name,
        "event": list(entry.event),
        "note": entry.note,
    }
    start = time.process_time()
    try:
        report = _checked(entry, seed)
    except foreign() as error:  # of others' code, which may raise anything, or of the kit itself
        reason, named = one_line(error), isinstance(error, ValueError)
        return row | {
            "verdict": COULD_NOT_RUN,
            "reason": reason if named else f"{type(error).__name__}: {reason}",
        }
    return row | {"cpu_seconds": time.process_time() - start} | _found(report)


def _checked(entry: Entry, seed: int) -> Report:
    if entry.density:
        return check_density(entry.build(None), entry.event, context=entry.context, seed=seed)
    return check_layer(
        lambda: entry.build(None),
        entry.event,
        context=entry.context,
        seed=seed,
        time_limit=LONGEST,
        report_limit=20 * LONGEST,
    )


def _found(report: Report) -> dict[str, Any]:
    families: dict[str, Counter[str]] = {}
    for result in report.results:
        counts = families.setdefault(family(result.check), Counter())
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


def family(check: str) -> str:
    """The column of a check; what a density returns are its values."""
    return CHECKS[check].family if check in CHECKS else "values"


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


def _header(seed: int) -> dict[str, Any]:
    return {
        "kind": "survey",
        "seed": seed,
        "emcheck": importlib.metadata.version("emcheck"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machines": {},
        "libraries": {},
        "layers": {},
    }


def version_of(library: str) -> str:
    """The version of a library, ``""`` for what is written here or not installed."""
    if library not in LIBRARIES:
        return ""
    if library.startswith("torch."):
        return str(torch.__version__)  # with its build, which the metadata leave out
    try:
        return importlib.metadata.version(DISTRIBUTIONS.get(library, library))
    except importlib.metadata.PackageNotFoundError:
        return ""


def _append(file: Any, record: dict[str, Any]) -> None:
    file.write(sealed(record).encode())
