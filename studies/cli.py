"""The commands of a checkout: run, properties, bench, compare, report, claims, survey, density."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from emcheck._internal.checkout import REPORTS, needed
from emcheck._internal.extras import require_suite
from emcheck.cli import FAILED
from studies.density.cli import app as density

PROFILES = "Hypothesis profile: dev, ci, reference or deep"


def add_commands(app: typer.Typer) -> None:
    """All of them, in the order of ``emcheck --help``."""
    app.command()(run)
    app.command()(properties)
    app.command()(bench)
    app.command()(compare)
    app.command(cls=_Report)(report)
    app.command()(claims)
    app.command()(survey)
    app.add_typer(density, name="density")


def run(
    reference: Annotated[
        bool, typer.Option("--reference", help="measure at full size and write to reports/")
    ] = False,
    profile: Annotated[str | None, typer.Option(help=PROFILES)] = None,
    workers: Annotated[
        int, typer.Option(help="number of test processes; 0: one for each core")
    ] = 0,
    bench_profile: Annotated[str | None, typer.Option(help="quick or full")] = None,
    threads: Annotated[int, typer.Option(help="threads of the benchmarks; 0 is the default")] = 0,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="start anew, without what a stopped run has kept")
    ] = False,
) -> None:
    """Run the suite: self-test, properties, benchmarks, density smoke run, claims, report.

    The quick form writes to reports/local/ and leaves the reference run as it is, which has
    contests, survey and trainings too and takes hours. After an interruption the same command
    resumes: finished stages and passed tests are kept as long as sources, commit, versions and
    settings are the same.
    """
    root = needed("emcheck run")
    require_suite()
    from studies.suite import Settings, Stage, run_stages, stages

    size = ("reference", "full") if reference else ("dev", "quick")
    settings = Settings(reference, profile or size[0], workers, bench_profile or size[1], threads)
    tested = f"{settings.folder}/data/{stages.PROPERTIES}"
    timed = f"{settings.folder}/data/{stages.BENCHMARKS}"
    raced = f"{settings.folder}/data/{stages.CONTESTS}"
    longer = (
        Stage("contests", stages.contests, writes=(raced,)),
        Stage("survey", stages.survey),
        Stage("trainings", stages.trainings),
    )
    of_run = (
        Stage("self-test", stages.self_test),
        Stage("properties", stages.properties, ("profile", "reference"), (tested,)),
        Stage("benches", stages.benches, ("bench_profile", "threads", "reference"), (timed,)),
        Stage("density smoke", stages.smoke),
        *(longer if reference else ()),
        Stage("claims", stages.claims, ("reference",)),
        Stage("report", lambda context: _report_of(context.report), always=True),
    )
    code = run_stages(of_run, settings, root, fresh=fresh)
    print(f"report: {root / settings.folder / 'summary.md'}")
    raise typer.Exit(code)


def _report_of(folder: Path) -> int:
    _write_report([], [], folder, data=folder / "data")
    return 0


def properties(
    profile: Annotated[str, typer.Option(help=PROFILES)] = "ci",
) -> None:
    """Test every layer with every check, and every check with its faults."""
    from studies.suite import Settings
    from studies.suite.stages import run_properties

    raise typer.Exit(run_properties(Settings(profile=profile).profile))


def bench(
    profile: Annotated[str, typer.Option(help="quick or full")] = "quick",
    threads: Annotated[int, typer.Option(help="value of OMP_NUM_THREADS; 0 keeps the default")] = 0,
    json: Annotated[Path | None, typer.Option(help="file of the measurements")] = None,
) -> None:
    """Time every layer, operation and size; each is checked before it is timed."""
    from studies.suite.settings import Settings, chosen
    from studies.suite.stages import run_benches

    chosen("--profile", profile, ("quick", "full"))
    raise typer.Exit(run_benches(profile, Settings(threads=threads).threads, json))


def compare(
    processes: Annotated[int, typer.Option(help="processes for each thread count")] = 5,
    threads: Annotated[str, typer.Option(help="thread counts, for example 1,2")] = "1,2",
    out: Annotated[Path, typer.Option(help="file of the measurements")] = REPORTS
    / "data"
    / "contests.jsonl",
    device: Annotated[str, typer.Option(help="cpu; cuda: whole flows alone, there")] = "cpu",
) -> None:
    """Time solvers and layers side by side: inverse over forward."""
    from emcheck._internal.words import parse_numbers
    from emcheck.cli.show import StepProgress
    from studies.contests.run import run_contests

    counts = parse_numbers(threads, "thread counts like 1,2")
    with StepProgress("processes") as progress:
        print(run_contests(out, processes, counts, progress.advance, device))


class _Report(TyperCommand):
    """``--html`` takes a file name where one follows; a benchmark file does not."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As of any command, with the default put in where no name follows."""
        for index, word in enumerate(args):
            if word == "--html" and not "".join(args[index + 1 : index + 2]).endswith(".html"):
                args = [*args[:index], "--html=", *args[index + 1 :]]
        return super().parse_args(ctx, args)


def report(
    benchmarks: Annotated[list[Path] | None, typer.Argument(help="benchmark JSON files")] = None,
    properties: Annotated[
        list[Path] | None, typer.Option(help="results of the properties, on one device each")
    ] = None,
    contests: Annotated[Path | None, typer.Option(help="results of emcheck compare")] = None,
    out: Annotated[Path, typer.Option(help="folder of the report")] = REPORTS,
    html: Annotated[
        str | None, typer.Option(metavar="[FILE]", help="all pages as one file, report.html")
    ] = None,
) -> None:
    """Write summary.md, figures and CSV files from measurements."""
    from studies.report.html import target_of, write_html

    target = target_of(out, html) if html is not None else None
    print(_write_report(benchmarks or [], properties or [], out, contests))
    if target is not None:
        print(write_html(out, target))


def claims(
    names: Annotated[list[str] | None, typer.Argument(help="all by default")] = None,
    out: Annotated[Path, typer.Option(help="folder of the evidence")] = REPORTS / "data" / "claims",
) -> None:
    """Measure the claims of the report: statement, evidence and verdict."""
    from studies.claims import chosen
    from studies.claims.run import run_claims

    raise typer.Exit(0 if run_claims(chosen(names or []), out) else FAILED)


def survey(
    libraries: Annotated[list[str] | None, typer.Argument(help="all by default")] = None,
    seed: Annotated[int, typer.Option(help="random seed")] = 0,
    out: Annotated[Path, typer.Option(help="folder of survey.md")] = REPORTS,
    resume: Annotated[
        bool, typer.Option("--resume", help="leave out libraries whose lines are there")
    ] = False,
) -> None:
    """Check the layers of released libraries; exit code 1 if a FAIL is not confirmed."""
    from emcheck.cli.show import StepProgress
    from studies.survey import SURVEYED
    from studies.survey.report import load, write_survey
    from studies.survey.run import missing
    from studies.survey.run import survey as run_survey
    from studies.survey.told import unconfirmed

    data = out / "data" / "survey.jsonl"
    chosen = tuple(libraries or SURVEYED)
    absent = missing(chosen)
    if absent:
        kept = "what is known of them stays; pip install -e '.[survey]' brings them"
        print(f"not installed, so not surveyed: {', '.join(absent)}; {kept}")
    with StepProgress("layers") as progress:
        run_survey(chosen, seed, data, progress.advance, resume)
    print(write_survey(data, out / "survey.md"))
    raise typer.Exit(FAILED if unconfirmed(load(data)[1]) else 0)


def _write_report(
    benchmarks: list[Path],
    properties: list[Path],
    out: Path,
    contests: Path | None = None,
    data: Path = REPORTS / "data",
) -> Path:
    from studies.choosing.write import write_choosing
    from studies.claims.report import write_claims
    from studies.density.report import write_density
    from studies.report import default_inputs, write_report

    density = survey = claims = None
    if not benchmarks and not properties and contests is None:
        benchmarks, properties, contests = default_inputs(data)
        density = data / "density" if any(data.glob("density/cells/*.json")) else None
        survey = data / "survey.jsonl" if (data / "survey.jsonl").exists() else None
        claims = data / "claims"
    page = write_report(benchmarks, properties, out, contests, density, survey, claims)
    if density is not None:
        write_density(density, out)
        write_choosing(data, out)
    if claims is not None and any(claims.glob("*.json")):
        write_claims(claims, out)
    return page
