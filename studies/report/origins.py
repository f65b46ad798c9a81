"""Which machine, commit and versions stand behind each input of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from studies.claims.report.load import Told
from studies.density.report.load import Density
from studies.density.reproduce import ALIKE, MAGNIFIED, most
from studies.pages.fields import ORIGIN
from studies.pages.load import BenchmarkFile, Contests, Properties
from studies.pages.markdown import number, plural
from studies.pages.schema import Record, read_record


def origins(
    files: Sequence[BenchmarkFile],
    properties: Properties,
    contests: Contests | None,
    survey: Record | None,
    claims: Sequence[Told],
    sweeps: Mapping[str, Density],
) -> list[Record]:
    """Return one record for each input and machine: ``input``, ``about``, ``date``, the machine.

    Args:
        files: of ``pytest benches``.
        properties: of ``pytest properties``.
        contests: of ``emcheck compare``.
        survey: the header of ``emcheck survey``.
        claims: of ``emcheck claims``.
        sweeps: of ``emcheck density sweep``, by the name of the folder.
    """
    return [
        *_of_benchmarks(files),
        *_of_properties(properties),
        *(_of_contests(contests) if contests is not None else ()),
        *(_of_survey(survey) if survey is not None else ()),
        *_of_claims(claims),
        *(record for name, sweep in sweeps.items() for record in _of_density(name, sweep)),
    ]


def _of_benchmarks(files: Sequence[BenchmarkFile]) -> list[Record]:
    return [
        _record(file.name, f"{m['profile']}, seed {m['seed']}", file.date, m)
        for file in files
        for m in [file.machine]
    ]


def _of_properties(properties: Properties) -> list[Record]:
    return [
        _record(
            "properties",
            f"{run['profile']}, seed {run['seed']}, {number(run['seconds'], 3)} s",
            run["date"],
            run,
        )
        for run in properties.of("run")
    ]


def _of_contests(contests: Contests) -> list[Record]:
    processes = len({row["process"] for row in contests.rows})
    header = contests.header
    return [_record("contests", f"{processes} processes", header["date"], header)]


def _of_survey(header: Record) -> list[Record]:
    """Return one record for each machine that surveyed libraries, with how many layers."""
    layers, machines = header["layers"], header.get("machines", {})
    found = [read_record(machines.get(name, header), ORIGIN, "survey") for name in layers]
    counts, seed = list(layers.values()), header["seed"]
    return [
        _record(
            "survey", f"{plural(sum(counts[n] for n in places), 'layer')}, seed {seed}", "", machine
        )
        for machine, places in _by_machine(found)
    ]


def _of_claims(claims: Sequence[Told]) -> list[Record]:
    """Return one record for each machine that measured claims, with their letters."""
    return [
        _record("claims", " ".join(claims[n].letter for n in places), "", machine)
        for machine, places in _by_machine([claim.machine for claim in claims])
    ]


def _of_density(name: str, density: Density) -> list[Record]:
    """Return one record for each machine of a sweep, and one of the trainings begun again."""
    machines = [read_record(machine, ORIGIN, name) for machine in density.machines]
    records = [
        _record(name, plural(len(places), "training"), "", machine)
        for machine, places in _by_machine(machines)
    ]
    if density.reproduced:
        cells = list(density.reproduced["cells"].values())
        off = [float(cell["difference"]) for cell in cells]
        equal, near = sum(cell["same"] for cell in cells), sum(one <= ALIKE for one in off)
        fine = sum(one <= most(cell) for one, cell in zip(off, cells, strict=True))
        within = number(max((one for one in off if one <= ALIKE), default=0.0))
        times = f"within {MAGNIFIED:g} times what one rounding of the weights does"
        told = [
            f"{equal} of {len(cells)} with equal bits",
            f"{near - equal} within {within} bits/dim" if near > equal else "",
            f"{fine - near} {times}" if fine > near else "",
            f"{len(cells) - fine} otherwise" if fine < len(cells) else "",
        ]
        about = f"begun again: {', '.join(filter(None, told))}"
        machine = read_record(density.reproduced["machine"], ORIGIN, name)
        records.append(_record(name, about, "", machine))
    return records


def _by_machine(machines: Sequence[Mapping[str, Any]]) -> list[tuple[Record, list[int]]]:
    """Return machines that differ in more than their commit, and the places of each.

    The commits of one machine are joined by spaces.
    """
    found: dict[tuple[Any, ...], tuple[Record, list[int]]] = {}
    for place, machine in enumerate(machines):
        key = tuple(value for name, value in machine.items() if name != "commit")
        record, places = found.setdefault(key, (dict(machine), []))
        if machine["commit"] not in record["commit"].split():
            record["commit"] += f" {machine['commit']}"
        places.append(place)
    return list(found.values())


def _record(name: str, about: str, date: str, machine: Mapping[str, Any]) -> Record:
    lists = {key: " ".join(v) for key, v in machine.items() if isinstance(v, list | tuple)}
    return {"input": name, "about": about, "date": date, **machine, **lists}
