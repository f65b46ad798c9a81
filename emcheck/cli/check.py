"""``emcheck check``: one layer in a process of its own, or a matrix of cases on a cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from emcheck._internal.words import parse_shape, require_module
from emcheck.checker import TIME_LIMIT
from emcheck.cli import FAILED, options
from emcheck.cli.outputs import Outputs
from emcheck.cli.reproduce import in_shell
from emcheck.config import configured, expected_of
from emcheck.isolated.wire import Job

if TYPE_CHECKING:
    from emcheck.batch import Settings

_DTYPES = ("float32", "float64")


def check(
    targets: options.Targets = None,
    shape: options.Shapes = None,
    seed: options.Seed = 0,
    examples: options.Examples = 4,
    time_limit: options.TimeLimit = TIME_LIMIT,
    compiled: options.Compiled = False,
    density: options.Density = False,
    memory: options.Memory = None,
    context: options.Context = None,
    lacks: options.Lacks = None,
    expected: options.Expected = None,
    json: options.Json = None,
    junit: options.Junit = None,
    sarif: options.Sarif = None,
    html: options.Html = None,
    seeds: options.Seeds = None,
    dtypes: options.Dtypes = None,
    device: options.Device = "cpu",
    only: options.Only = None,
    workers: options.Workers = None,
    scheduler: options.Scheduler = None,
    out: options.Out = None,
    fresh: options.Fresh = False,
) -> None:
    """Check one layer, or a matrix of layers, shapes and seeds.

    Every check that applies is run. One target and one shape are checked at once. With more of
    them, or with --seeds, --workers, --scheduler or --out, each target, shape, dtype and seed is a
    case of a matrix; a Dask cluster works through it, and a stopped run resumes where it stopped.
    """
    elsewhere = "" if device == "cpu" else device
    of_layers = {"--lacks": lacks, "--dtype": dtypes, "--compile": compiled}
    of_matrix = {"--seeds": seeds, "--workers": workers, "--scheduler": scheduler, "--out": out}
    of_one = {"--context": context, "--lacks": lacks, "--expected-failures": expected,
              "--density": density, "--device": elsewhere,
              "--junit": junit, "--sarif": sarif, "--html": html}  # fmt: skip
    known = {} if expected is None else expected_of(expected)
    if not targets:
        of_target = {"--shape": shape, "--seed": seed, "--only": only, "--context": context,
                     "--density": density, "--memory": memory, "--device": elsewhere,
                     **of_layers, **of_matrix}  # fmt: skip
        _refuse(of_target, "expected a target with {}: pyproject.toml has its own")
        jobs = _configured(known)
        _each(jobs, Outputs(tuple(job.target for job in jobs), json, junit, sarif, html))
    if not shape:
        raise ValueError("expected --shape, the shape of one sample, such as --shape 4,8,6")
    assert targets is not None
    several = len(targets) > 1 or len(shape) > 1 or targets == ["all"] or fresh
    if not several and all(value is None for value in of_matrix.values()):
        if density:
            _refuse(of_layers, "expected no {} with --density: it is an option of layers")
        event, conditions = parse_shape(shape[0]), parse_shape(context) if context else ()
        job = Job(targets[0], event, True, expected=known.get(targets[0], ()), seed=seed,
                  examples=examples, dtypes=tuple(dtypes or _DTYPES), only=tuple(only or ()),
                  context=conditions, lacks=tuple(lacks or ()), density=density, memory=memory,
                  time_limit=time_limit, compiled=compiled, device=device)  # fmt: skip
        _each([job], Outputs((job.target,), json, junit, sarif, html))
    _refuse(of_one, "expected one target and one shape with {}, got a matrix")
    from emcheck.batch import Settings

    numbers = range(seed, seed + (1 if seeds is None else seeds))
    settings = Settings(examples, time_limit, compiled, tuple(only or ()), memory)
    out = out or options.KEPT
    _matrix(targets, shape, dtypes or _DTYPES, numbers, settings, out, json, workers,
            scheduler=scheduler, fresh=fresh)  # fmt: skip


def _refuse(given: Mapping[str, object], message: str) -> None:
    for option in (name for name, value in given.items() if value):
        raise ValueError(message.format(option))


def _configured(known: Mapping[str, tuple[tuple[str, str], ...]]) -> list[Job]:
    """Return the jobs of ``pyproject.toml``, with the failures that are expected besides."""
    return [
        replace(job, expected=(*job.expected, *known.get(job.target, ())))
        for job in configured(Path())
    ]


def _matrix(
    targets: Sequence[str],
    shapes: Sequence[str],
    dtypes: Sequence[str],
    seeds: Sequence[int],
    settings: Settings,
    out: Path,
    json: Path | None,
    workers: int | None,
    **cluster: Any,
) -> None:
    from emcheck._internal.files import require_writable
    from emcheck._internal.machine import cores
    from emcheck.batch import every_case, run_matrix
    from emcheck.batch.show import CaseProgress, render_outcome, write_json
    from emcheck.batch.targets import named

    events = [parse_shape(text) for text in shapes]
    if json is not None:
        require_writable(json)
    sources = named(targets)
    cases, left_out = every_case(list(sources), events, dtypes, seeds)
    for line in left_out:
        print(f"left out: {line}")
    with CaseProgress() as progress:
        outcome = run_matrix(
            cases,
            settings,
            out,
            sources=sources,
            told=progress.advance,
            workers=cores() if workers is None else workers,
            **cluster,
        )
    if json is not None:
        write_json(outcome, json)
    render_outcome(outcome)
    raise typer.Exit(0 if outcome.ok else FAILED)


def _each(jobs: Sequence[Job], outputs: Outputs) -> None:
    """Print one report after the other; exit with code 1 if one is not ok."""
    for job in jobs:
        require_module(job.target)  # before torch is loaded
    from emcheck.cli.show import CheckProgress, render_report
    from emcheck.isolated import isolated_report

    reports = []
    for job in jobs:
        with CheckProgress() as progress:
            report = isolated_report(job, progress.advance, progress.expect)
        reports.append(report)
        outputs.write(reports)  # first: a pipe that nobody reads ends this process
        render_report(in_shell(report, job))
    raise typer.Exit(0 if all(report.ok for report in reports) else FAILED)
