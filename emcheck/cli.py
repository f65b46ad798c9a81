"""The command line: run, check, claims, survey, bench, report, list, doctor.

Exit codes: 0 all is well, 1 a check, test or canary failed, 2 it could not run,
130 interrupted.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from emcheck import __version__
from emcheck.checkout import REPORTS, needed
from emcheck.commands import COULD_NOT_RUN, FAILED, INTERRUPTED
from emcheck.commands.check import check
from emcheck.experiments.cli import app as density
from emcheck.extras import extra_named, require_suite
from emcheck.guard import one_line

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Numerical verification and benchmarks for invertible layers.",
)

app.add_typer(density, name="density")

#: Where the measurements of the suite are kept in a checkout.
DATA = "reports/data"


def _version(wanted: bool) -> None:
    if wanted:
        print(f"emcheck {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point: a user's mistake is one line and exit code 2, never a traceback."""
    try:
        with extra_named():
            code = app(standalone_mode=False) or 0
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except (ValueError, OSError) as error:
        code = _complain(one_line(error, most=1000))
    except Exception as error:
        # A wrong option: the class lives in click or in typer, depending on the version.
        told = getattr(error, "format_message", None)
        if told is None:
            raise
        message = told()
        code = _complain(f"{message} (--help says more)") if message else COULD_NOT_RUN
    if code == INTERRUPTED:
        _complain("interrupted; what was finished is kept")
    sys.exit(code)


def _complain(message: str) -> int:
    print(f"emcheck: {message}", file=sys.stderr)
    return COULD_NOT_RUN


@app.command()
def run(
    profile: Annotated[str, typer.Option(help="Hypothesis profile: dev, ci or deep")] = "dev",
    workers: Annotated[int, typer.Option(help="processes of the properties; 0: every core")] = 0,
    bench_profile: Annotated[str, typer.Option(help="quick or full")] = "quick",
    threads: Annotated[int, typer.Option(help="threads of the benchmarks; 0 is the default")] = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="keep nothing of a stopped run")] = False,
) -> None:
    """Canaries, properties, benchmarks, density smoke run, claims, the report, in quick form.

    ``--profile ci --bench-profile full`` is the reference run.

    After an interruption the same command goes on where it stopped: finished stages and passed
    tests are kept as long as sources, commit, versions and settings are the same.
    """
    root = needed("emcheck run")
    require_suite()
    from emcheck.suite import Settings, Stage, run_stages, stages

    of_run = (
        Stage("canaries", stages.canaries),
        Stage("properties", stages.properties, ("profile",), (f"{DATA}/properties.jsonl",)),
        Stage(
            "benches", stages.benches, ("bench_profile", "threads"), (f"{DATA}/benchmarks.json",)
        ),
        Stage("density smoke", stages.smoke),
        Stage("claims", stages.claims),
        Stage("report", lambda context: _report_of_run(), always=True),
    )
    settings = Settings(profile, workers, bench_profile, threads)
    raise typer.Exit(run_stages(of_run, settings, root, fresh=fresh))


def _report_of_run() -> int:
    print(f"report: {_write_report([], [], REPORTS)}")
    return 0


@app.command()
def properties(
    profile: Annotated[str, typer.Option(help="Hypothesis profile: dev, ci or deep")] = "ci",
) -> None:
    """Every layer against every check, and every check against its faults."""
    from emcheck.suite import Settings
    from emcheck.suite.stages import run_properties

    raise typer.Exit(run_properties(Settings(profile).profile))


@app.command()
def bench(
    profile: Annotated[str, typer.Option(help="quick or full")] = "quick",
    threads: Annotated[int, typer.Option(help="OMP_NUM_THREADS; 0 keeps the default")] = 0,
    json: Annotated[Path | None, typer.Option(help="where the measurements go")] = None,
) -> None:
    """Time every layer, operation and size; each is checked before it is timed."""
    from emcheck.suite.settings import Settings, chosen
    from emcheck.suite.stages import run_benches

    chosen("--profile", profile, ("quick", "full"))
    raise typer.Exit(run_benches(profile, Settings(threads=threads).threads, json))


@app.command()
def compare(
    processes: Annotated[int, typer.Option(help="processes for each thread count")] = 5,
    threads: Annotated[str, typer.Option(help="thread counts, for example 1,2")] = "1,2",
    out: Annotated[Path, typer.Option(help="where the measurements go")] = REPORTS
    / "data"
    / "contests.jsonl",
    device: Annotated[str, typer.Option(help="cpu; cuda: whole flows alone, there")] = "cpu",
) -> None:
    """Solvers and layers side by side: inverse over forward, ratio by ratio."""
    from emcheck.bench.compare import run_contests
    from emcheck.show import StepProgress
    from emcheck.words import parse_numbers

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


@app.command(cls=_Report)
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
    from emcheck.report.html import target_of, write_html

    target = target_of(out, html) if html is not None else None
    print(_write_report(benchmarks or [], properties or [], out, contests))
    if target is not None:
        print(write_html(out, target))


app.command()(check)


@app.command()
def claims(
    names: Annotated[list[str] | None, typer.Argument(help="all of them unless named")] = None,
    out: Annotated[Path, typer.Option(help="folder of the evidence")] = REPORTS / "data" / "claims",
) -> None:
    """The reader's doubts, settled: statement, evidence and verdict of each claim."""
    from emcheck.claims import chosen
    from emcheck.claims.run import run_claims

    raise typer.Exit(0 if run_claims(chosen(names or []), out) else FAILED)


@app.command("list")
def list_() -> None:
    """The layers, the checks and the seeded faults."""
    from emcheck.show import render_catalogue

    render_catalogue()


@app.command()
def doctor(
    timeout: Annotated[float, typer.Option(help="seconds for each canary")] = 120.0,
    json: Annotated[Path | None, typer.Option(help="also write what they say here")] = None,
) -> None:
    """Test this installation's linear algebra, FFT and convolution."""
    from rich.console import Console

    from emcheck.doctor import diagnose
    from emcheck.doctor.show import render

    console = Console()
    with console.status("canaries"):
        canaries = diagnose(timeout=timeout)
    console.print(render(canaries))
    if json is not None:
        from emcheck.doctor.canary import write_canaries

        write_canaries(canaries, json)
    raise typer.Exit(0 if all(canary.ok for canary in canaries) else FAILED)


@app.command()
def survey(
    libraries: Annotated[list[str] | None, typer.Argument(help="all of them unless named")] = None,
    seed: Annotated[int, typer.Option(help="of all random numbers")] = 0,
    out: Annotated[Path, typer.Option(help="folder of survey.md")] = REPORTS,
) -> None:
    """The layers of released libraries; exit code 1 for a FAIL that no test confirms."""
    from emcheck.show import StepProgress
    from emcheck.survey import SURVEYED
    from emcheck.survey.report import load, write_survey
    from emcheck.survey.run import survey as run_survey
    from emcheck.survey.told import unconfirmed

    data = out / "data" / "survey.jsonl"
    with StepProgress("layers") as progress:
        run_survey(libraries or tuple(SURVEYED), seed, data, progress.advance)
    print(write_survey(data, out / "survey.md"))
    raise typer.Exit(FAILED if unconfirmed(load(data)[1]) else 0)


def _write_report(
    benchmarks: list[Path], properties: list[Path], out: Path, contests: Path | None = None
) -> Path:
    from emcheck.report import default_inputs, write_report
    from emcheck.report.claims import write_claims
    from emcheck.report.density import write_density

    density = survey = claims = None
    if not benchmarks and not properties and contests is None:
        data = REPORTS / "data"
        benchmarks, properties, contests = default_inputs(data)
        density = data / "density" if any(data.glob("density/cells/*.json")) else None
        survey = data / "survey.jsonl" if (data / "survey.jsonl").exists() else None
        claims = data / "claims"
    page = write_report(benchmarks, properties, out, contests, density, survey, claims)
    if density is not None:
        write_density(density, out)
    if claims is not None and any(claims.glob("*.json")):
        write_claims(claims, out)
    return page
