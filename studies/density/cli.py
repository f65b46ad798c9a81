"""``emcheck density``: train one flow, draw from it, train a whole plan, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emcheck._internal.checkout import REPORTS
from studies.density.folders import CONSTANT_RATE, DECAYING_RATE

app = typer.Typer(no_args_is_help=True, help="Density modelling on real images.")

_Root = Annotated[Path | None, typer.Option(help="folder or archive of cifar10, imagenet32")]


@app.command()
def train(
    data: Annotated[str, typer.Argument(help="galaxies, photographs, faces, digits, ...")],
    mixing: Annotated[str, typer.Option(help="1x1, 1x1+emerging, periodic, ...")] = "1x1+emerging",
    depth: Annotated[int, typer.Option(help="steps in each level")] = 4,
    levels: Annotated[int, typer.Option(help="levels")] = 2,
    width: Annotated[int, typer.Option(help="hidden channels of the couplings")] = 32,
    size: Annotated[int, typer.Option(help="side of a patch")] = 16,
    batch: Annotated[int, typer.Option(help="patches of a step, over all processes")] = 64,
    steps: Annotated[int, typer.Option(help="steps of the optimiser")] = 1200,
    warmup: Annotated[int, typer.Option(help="steps of growing learning rate")] = 120,
    rate: Annotated[float, typer.Option(help="learning rate")] = 1e-2,
    seed: Annotated[int, typer.Option(help="of weights, batches and noise")] = 0,
    logs: Annotated[
        int, typer.Option("--log-count", help="validations and checkpoints of a run")
    ] = 20,
    identity: Annotated[bool, typer.Option(help="start d x d convolutions there")] = True,
    recompute: Annotated[bool, typer.Option(help="keep no activations")] = False,
    control: Annotated[str, typer.Option(help="parameters: as many as 1x1+emerging")] = "",
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    out: Annotated[Path, typer.Option(help="folder of checkpoint and log")] = Path("density-runs"),
    root: _Root = None,
) -> None:
    """Train one flow, or go on from its checkpoint; one or several processes (torchrun)."""
    from studies.density.cell import Cell
    from studies.density.data import load
    from studies.density.outcome import outcome
    from studies.density.parallel import joined
    from studies.density.show import TrainingProgress, render_outcome, write_log
    from studies.density.training import Diverged, Training
    from studies.density.training import train as run_training

    if control == "time":
        raise ValueError("expected --control parameters, got time, which a sweep alone can match")
    cell = Cell(
        data, mixing, depth, seed, control, levels, width, size, batch, steps, warmup, rate,
        logs=logs, identity=identity, recompute=recompute,
    )  # fmt: skip
    images = load(data, size, root)
    with joined(device) as group:
        training = Training(cell, images, group)
        log = out / f"{cell.name}.csv"
        with TrainingProgress(training) as progress:
            try:
                run_training(
                    training,
                    out / f"{cell.name}.pt",
                    progress.step,
                    lambda training, row: write_log(log, training) if group.leads else None,
                )
            except Diverged as error:
                print(f"emcheck: {error}")
                raise typer.Exit(1) from None
        if group.leads:
            render_outcome(outcome(training))
            print(f"checkpoint: {out / cell.name}.pt, log: {log}")


@app.command()
def sample(
    checkpoint: Annotated[Path, typer.Argument(help="of a training or of a sweep")],
    count: Annotated[int, typer.Option(help="how many images")] = 16,
    temperature: Annotated[float, typer.Option(help="standard deviation of latents")] = 1.0,
    seed: Annotated[int, typer.Option(help="of the latents")] = 0,
    out: Annotated[Path, typer.Option(help="the picture")] = Path("samples.png"),
    scale: Annotated[int, typer.Option(help="pixels for each pixel")] = 4,
) -> None:
    """Draw images from a trained flow and write them as one picture."""
    from studies.density.show import write_samples

    if count < 1 or scale < 1 or not temperature >= 0:
        raise ValueError(
            "expected count and scale of at least 1 and temperature of at least 0, "
            f"got {count}, {scale} and {temperature}"
        )
    print(write_samples(checkpoint, count, temperature, seed, scale, out))


@app.command()
def sweep(
    plan: Annotated[str, typer.Option(help="reference, budget, family or smoke")] = "reference",
    steps: Annotated[int, typer.Option(help="of each cell; 0 keeps the plan's")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="folder of the finished cells", show_default="of the plan, in reports"),
    ] = None,
    workers: Annotated[int, typer.Option(help="processes of the local cluster")] = 2,
    scheduler: Annotated[str | None, typer.Option(help="address of a Dask scheduler")] = None,
    root: _Root = None,
) -> None:
    """Train every cell of a plan; finished cells are kept and skipped."""
    from emcheck.cli.show import StepProgress
    from studies.density.plans import plan_of
    from studies.density.sweep import sweep as run_sweep

    cells = plan_of(plan, steps)
    out = out or (DECAYING_RATE if cells[0].budget else CONSTANT_RATE)
    with StepProgress("cells") as progress:
        lost = run_sweep(
            cells,
            out,
            scheduler=scheduler,
            workers=workers,
            root=root,
            told=lambda name, done, total: progress.advance(done, total),
        )
    for line in lost:
        print(f"emcheck: not finished: {line}")
    print(out)
    raise typer.Exit(1 if lost else 0)


@app.command()
def reproduce(
    data: Annotated[
        list[Path] | None,
        typer.Argument(help="folders of sweeps", show_default="those of the report"),
    ] = None,
    workers: Annotated[int, typer.Option(help="processes of the local cluster")] = 2,
    scheduler: Annotated[str | None, typer.Option(help="address of a Dask scheduler")] = None,
    root: _Root = None,
) -> None:
    """Begin kept trainings again: exit code 1 if the present code trains one otherwise."""
    from emcheck.cli.show import StepProgress
    from studies.density.reproduce import reproduce as run_reproduce

    lost = []
    for folder in data or [CONSTANT_RATE, DECAYING_RATE]:
        with StepProgress("trainings") as progress:
            found = run_reproduce(
                folder, scheduler=scheduler, workers=workers, root=root, progress=progress.advance
            )
        print(f"{folder}: {len(found)} not reproduced" if found else f"{folder}: all reproduced")
        lost += found
    for line in lost:
        print(f"emcheck: {line}")
    raise typer.Exit(1 if lost else 0)


@app.command()
def report(
    data: Annotated[Path, typer.Argument(help="folder of a sweep")] = CONSTANT_RATE,
    out: Annotated[Path, typer.Option(help="folder of density.md")] = REPORTS,
) -> None:
    """Write density.md, its tables and figures, from the finished cells of a sweep."""
    from studies.density.report import write_density

    print(write_density(data, out))
