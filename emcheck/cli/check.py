"""``emcheck check``: one layer in a process of its own, or a matrix of cases on a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emcheck._internal.words import parse_shape, require_module
from emcheck.checker import TIME_LIMIT
from emcheck.cli import FAILED, names
from emcheck.cli.options import Context, Lacks, TimeLimit
from emcheck.cli.outputs import Outputs
from emcheck.cli.reproduce import in_shell
from emcheck.config import configured, expected_of
from emcheck.isolated.wire import Job

if TYPE_CHECKING:
    from emcheck.batch import Settings

#: Where the results of a matrix are kept by default.
KEPT = Path("check-runs")


def check(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            help="module:factory, module:layer, a registered layer, or all; by default the "
            "targets of [tool.emcheck] in pyproject.toml",
            autocompletion=names.targets,
        ),
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(help="shape of one sample, for example 4,8,6; repeatable"),
    ] = None,
    seed: Annotated[int, typer.Option(help="random seed (the first one with --seeds)")] = 0,
    examples: Annotated[int, typer.Option(help="number of cases for each check and dtype")] = 4,
    time_limit: TimeLimit = TIME_LIMIT,
    compiled: Annotated[
        bool, typer.Option("--compile", help="also compare with torch.compile")
    ] = False,
    density: Annotated[
        bool, typer.Option("--density", help="the target is a whole flow: log_prob and samples")
    ] = False,
    memory: Annotated[
        float | None, typer.Option(help="GB that the layer may allocate; unlimited by default")
    ] = None,
    context: Context = None,
    lacks: Lacks = None,
    expected: Annotated[
        Path | None,
        typer.Option("--expected-failures", help="TOML file: target, check and reason of each"),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="also write the report to this file")] = None,
    junit: Annotated[Path | None, typer.Option(help="also write JUnit XML to this file")] = None,
    sarif: Annotated[Path | None, typer.Option(help="also write SARIF to this file")] = None,
    html: Annotated[Path | None, typer.Option(help="also write a page to this file")] = None,
    seeds: Annotated[int | None, typer.Option(help="number of seeds, counted from --seed")] = None,
    dtypes: Annotated[
        list[str] | None, typer.Option("--dtype", help="float32 or float64; both by default")
    ] = None,
    device: Annotated[str, typer.Option(help="where to check: cpu, cuda or mps")] = "cpu",
    only: Annotated[
        list[str] | None,
        typer.Option(help="run only this check; repeatable", autocompletion=names.checks),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="number of worker processes; one for each core by default")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="address of a running Dask scheduler")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help=f"folder of results; a stopped run resumes from it ({KEPT})")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="delete the results in --out first")
    ] = False,
) -> None:
    """Check one layer, or a matrix of layers, shapes and seeds.

    Every check that applies is run. One target and one shape are checked at once. With more of
    them, or with --seeds, --workers, --scheduler or --out, each target, shape, dtype and seed is a
    case of a matrix; a Dask cluster works through it, and a stopped run resumes where it stopped.
    """
    if not targets:
        given = {"--shape": shape, "--seed": seed, "--context": context, "--lacks": lacks,
                 "--dtype": dtypes, "--only": only, "--seeds": seeds, "--workers": workers,
                 "--scheduler": scheduler, "--out": out, "--density": density}  # fmt: skip
        for option in (name for name, value in given.items() if value):
            raise ValueError(f"expected a target with {option}: pyproject.toml has its own")
        known = {} if expected is None else expected_of(expected)
        jobs = [
            replace(job, expected=(*job.expected, *known.get(job.target, ())))
            for job in configured(Path())
        ]
        _each(jobs, Outputs(tuple(job.target for job in jobs), json, junit, sarif, html))
    if not shape:
        raise ValueError("expected --shape, the shape of one sample, such as --shape 4,8,6")
    assert targets is not None
    several = len(targets) > 1 or len(shape) > 1 or targets == ["all"] or fresh
    asked = (seeds, workers, scheduler, out)
    if not several and not any(value is not None for value in asked):
        of_layers = {"--lacks": lacks, "--dtype": dtypes, "--compile": compiled}
        for option in (name for name, value in of_layers.items() if density and value):
            raise ValueError(f"expected no {option} with --density: it is an option of layers")
        named = {} if expected is None else expected_of(expected)
        job = Job(
            targets[0],
            parse_shape(shape[0]),
            registered=True,
            seed=seed,
            examples=examples,
            time_limit=time_limit,
            compiled=compiled,
            dtypes=tuple(dtypes or ("float32", "float64")),
            memory=memory,
            context=parse_shape(context) if context else (),
            lacks=tuple(lacks or ()),
            expected=named.get(targets[0], ()),
            only=tuple(only or ()),
            density=density,
            device=device,
        )
        _each([job], Outputs((job.target,), json, junit, sarif, html))
    alone: dict[str, object] = {
        "--context": context,
        "--lacks": lacks,
        "--expected-failures": expected,
    }
    alone |= {"--density": density, "--device": None if device == "cpu" else device}
    alone |= {"--junit": junit, "--sarif": sarif, "--html": html}
    for option in (name for name, value in alone.items() if value):
        raise ValueError(f"expected one target and one shape with {option}, got a matrix")
    from emcheck._internal.machine import cores
    from emcheck.batch import Settings

    _matrix(
        targets,
        shape,
        dtypes or ("float32", "float64"),
        range(seed, seed + (1 if seeds is None else seeds)),
        Settings(examples, time_limit, compiled, tuple(only or ()), memory),
        out or KEPT,
        json,
        scheduler=scheduler,
        workers=cores() if workers is None else workers,
        fresh=fresh,
    )


def _matrix(
    targets: Sequence[str],
    shapes: Sequence[str],
    dtypes: Sequence[str],
    seeds: Sequence[int],
    settings: Settings,
    out: Path,
    json: Path | None,
    **cluster: Any,
) -> None:
    from emcheck._internal.files import require_writable
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
            cases, settings, out, sources=sources, told=progress.advance, **cluster
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
