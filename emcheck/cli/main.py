"""The command line: check, reproduce, list, doctor, and in a checkout the commands of its studies.

Exit codes: 0 all is well, 1 a check, test or self-test failed, 2 it could not run, 130 interrupted.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from emcheck import __version__
from emcheck._internal.checkout import ROOT, needed
from emcheck._internal.extras import extra_named
from emcheck.cli import COULD_NOT_RUN, FAILED, INTERRUPTED
from emcheck.cli.check import check
from emcheck.cli.reproduce import reproduce
from emcheck.guard import one_line

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # lines of a docstring are joined
    help="Numerical verification and benchmarks for invertible layers.",
)

#: The commands of ``studies/cli.py``, which only a checkout has.
STUDIES = ("run", "properties", "bench", "compare", "report", "claims", "survey", "density")


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
    """Run the command line: a user's mistake is one line and exit code 2, never a traceback."""
    try:
        with extra_named():
            code = app(prog_name="emcheck", standalone_mode=False) or 0
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        code = _unread()
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
        _complain("interrupted; what was written is kept")
    sys.exit(code)


def _unread() -> int:
    """End as the system ends a command whose standard output nobody reads any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still to be flushed goes nowhere
    if not hasattr(signal, "SIGPIPE"):
        return COULD_NOT_RUN
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)
    return 128 + signal.SIGPIPE


def _complain(message: str) -> int:
    print(f"emcheck: {message}", file=sys.stderr)
    return COULD_NOT_RUN


app.command()(check)
app.command()(reproduce)


@app.command("list")
def list_() -> None:
    """List the layers, the checks and the seeded faults."""
    from emcheck.cli.show import render_catalogue

    render_catalogue()


@app.command()
def doctor(
    timeout: Annotated[float, typer.Option(help="seconds for each test")] = 120.0,
    json: Annotated[Path | None, typer.Option(help="also write the results to this file")] = None,
) -> None:
    """Test this installation's linear algebra, FFT and convolution."""
    from emcheck._internal.progress import Output
    from emcheck.doctor import diagnose
    from emcheck.doctor.show import render

    console = Output()
    with console.status("self-test"):
        canaries = diagnose(timeout=timeout)
    console.print(render(canaries))
    if json is not None:
        from emcheck.doctor.canary import write_canaries

        write_canaries(canaries, json)
    raise typer.Exit(0 if all(canary.ok for canary in canaries) else FAILED)


@app.command("warm-up")
def warm_up() -> None:
    """Compile all code of the layers and keep it on disk, so that no later call waits."""
    import time

    import torch

    from emcheck._internal.progress import Output
    from emcheck.layers.compiled_kinds import compiled_kinds
    from emcheck.solve.choose import HAS_NUMBA

    if not HAS_NUMBA:
        raise ValueError("expected Numba, which compiles: pip install 'emcheck[fast]'")
    console = Output()
    for dtype in (torch.float32, torch.float64):
        for kind in compiled_kinds(dtype):
            start = time.perf_counter()
            kind.call()
            told = f"{time.perf_counter() - start:5.1f} s  {str(dtype).removeprefix('torch.')}"
            console.print(f"{told}  {kind.name}")


def _refused(name: str) -> None:
    @app.command(
        name,
        hidden=True,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )
    def refuse() -> None:
        needed(f"emcheck {name}")


if ROOT is None:
    for _name in STUDIES:
        _refused(_name)
else:
    sys.path.insert(0, str(ROOT))  # before a module of the user's that is named like one of ours
    importlib.import_module("studies.cli").add_commands(app)
    if not set(sys.argv[1:2]) & set(STUDIES):  # behind those that a target may need
        sys.path.append(sys.path.pop(0))
