"""``emcheck check``: one layer in a process of its own, or a matrix of cases on a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emcheck._internal.words import parse_shape, require_module
from emcheck.cli import FAILED

if TYPE_CHECKING:
    from emcheck.batch import Settings

#: Where the results of a matrix are kept unless told otherwise.
KEPT = Path("check-runs")


def check(
    targets: Annotated[
        list[str], typer.Argument(help="module:factory, module:layer, a registered layer, or all")
    ],
    shape: Annotated[
        list[str], typer.Option(help="shape of one sample, for example 4,8,6; repeatable")
    ],
    seed: Annotated[int, typer.Option(help="random seed (the first one with --seeds)")] = 0,
    examples: Annotated[int, typer.Option(help="number of cases for each check and dtype")] = 4,
    time_limit: Annotated[float, typer.Option(help="seconds for one check on one case")] = 10.0,
    compiled: Annotated[
        bool, typer.Option("--compile", help="also compare with torch.compile")
    ] = False,
    memory: Annotated[
        float | None, typer.Option(help="GB that the layer may allocate; unlimited by default")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="also write the report to this file")] = None,
    seeds: Annotated[int | None, typer.Option(help="number of seeds, counted from --seed")] = None,
    dtypes: Annotated[
        list[str] | None, typer.Option("--dtype", help="float32 or float64; both by default")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="run only this check; repeatable")] = None,
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
    them, or with --seeds, --dtype, --only, --workers, --scheduler or --out, each target, shape,
    dtype and seed is a case of a matrix; a Dask cluster works through it, and a stopped run resumes
    where it stopped.
    """
    several = len(targets) > 1 or len(shape) > 1 or targets == ["all"] or fresh
    asked = (seeds, dtypes, only, workers, scheduler, out)
    if not several and not any(value is not None and value != [] for value in asked):
        _one(targets[0], shape[0], seed, examples, time_limit, compiled, memory, json)
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


def _one(
    target: str,
    shape: str,
    seed: int,
    examples: int,
    time_limit: float,
    compiled: bool,
    memory: float | None,
    json: Path | None,
) -> None:
    event = parse_shape(shape)
    require_module(target)  # before torch is loaded
    from emcheck._internal.files import require_writable, write_file
    from emcheck.cli.show import CheckProgress, render_report
    from emcheck.isolated import Job, isolated_report

    job = Job(target, event, True, seed, examples, time_limit, compiled, memory=memory)
    if json is not None:
        require_writable(json)
    with CheckProgress() as progress:
        found = isolated_report(job, progress.advance)
    if json is not None:  # first: a pipe that nobody reads ends this process
        write_file(json, found.to_json().encode())
    render_report(found)
    raise typer.Exit(0 if found.ok else FAILED)
