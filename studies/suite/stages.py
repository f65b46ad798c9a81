"""The stages of ``emcheck run`` that measure."""

from __future__ import annotations

from pathlib import Path

from emcheck._internal.checkout import needed
from emcheck._internal.machine import cores
from emcheck.cli import COULD_NOT_RUN, FAILED
from studies.suite.process import python
from studies.suite.sequence import Context

#: Where the stage leaves the results of the self-test.
_SELF_TEST = "self-test.jsonl"

#: What is measured, in the folder of the data.
PROPERTIES, BENCHMARKS, CONTESTS = "properties.jsonl", "benchmarks.json", "contests.jsonl"


def self_test(context: Context) -> int:
    """Run it once, at the thread count of the properties, which judge its results."""
    said = context.folders["self-test"] / _SELF_TEST
    code = python(
        "emcheck", "doctor", f"--json={said}",
        cwd=needed("emcheck run"), environment={"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return 0 if code in (0, FAILED) and said.is_file() else COULD_NOT_RUN


def properties(context: Context) -> int:
    """Every check on every layer; a test that has passed before an interruption is kept."""
    options = [
        f"--emcheck-journal={context.folders['properties']}",
        f"--emcheck-results={context.data / PROPERTIES}",
    ]
    said = context.folders["self-test"] / _SELF_TEST
    if said.is_file():
        options.append(f"--emcheck-self-test={said}")
    return run_properties(context.settings.profile, context.settings.workers, *options)


def benches(context: Context) -> int:
    """Alone on the machine, whatever the number of workers."""
    settings = context.settings
    return run_benches(settings.bench_profile, settings.threads, context.data / BENCHMARKS)


def contests(context: Context) -> int:
    """Solvers and layers side by side, alone on the machine."""
    return _command("compare", f"--out={context.data / CONTESTS}")


def survey(context: Context) -> int:
    """The layers of every library that is installed."""
    return _command("survey", f"--out={context.report}")


def trainings(context: Context) -> int:
    """What the plans lack is trained; what is kept is begun again with the present code."""
    workers = f"--workers={context.settings.workers or cores()}"
    plans = ("reference", "budget", "family")
    codes = [_command("density", "sweep", f"--plan={plan}", workers) for plan in plans]
    return max(*codes, _command("density", "reproduce", workers))


def _command(*words: str) -> int:
    return python("emcheck", *words, cwd=needed("emcheck run"), environment={})


def smoke(context: Context) -> int:
    """The density experiment in a minute."""
    from emcheck.cli.show import StepProgress
    from studies.density.smoke import run_smoke

    with StepProgress("density experiment") as progress:
        problems = run_smoke(lambda name, done, total: progress.advance(done, total))
    for problem in problems:
        print(f"density experiment: {problem}")
    print(f"density experiment (smoke): {'FAILED' if problems else 'all cells learn'}")
    return FAILED if problems else 0


def claims(context: Context) -> int:
    """Every claim measured anew, its evidence kept for the report."""
    from studies.claims import CLAIMS
    from studies.claims.run import run_claims

    return 0 if run_claims(list(CLAIMS.values()), context.data / "claims") else FAILED


def run_properties(profile: str, workers: int = 0, *options: str) -> int:
    """``pytest properties`` on so many processes, every core if 0."""
    words = ["pytest", "properties", f"--hypothesis-profile={profile}", *options]
    workers = workers or cores()
    words += [f"-n{workers}", "--dist=worksteal"] if workers > 1 else ["-n0"]
    return python(*words, cwd=needed("emcheck properties"), environment={})


def run_benches(profile: str, threads: int, json: Path | None = None) -> int:
    """``pytest benches``; the thread count is chosen by the environment of the process."""
    words = ["pytest", "benches", f"--bench-profile={profile}"]
    if json is not None:
        words.append(f"--benchmark-json={json.resolve()}")
    environment = {"OMP_NUM_THREADS": str(threads)} if threads else {}
    return python(*words, cwd=needed("emcheck bench"), environment=environment)
