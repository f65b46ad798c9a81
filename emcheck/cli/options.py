"""The options of ``emcheck check``, some of them shared with other commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emcheck.cli import names

#: Where the results of a matrix are kept by default.
KEPT = Path("check-runs")

Targets = Annotated[
    list[str] | None,
    typer.Argument(
        help="module:factory, module:layer, a registered layer, or all; by default the "
        "targets of [tool.emcheck] in pyproject.toml",
        autocompletion=names.targets,
    ),
]
Shapes = Annotated[
    list[str] | None,
    typer.Option("--shape", help="shape of one sample, for example 4,8,6; repeatable"),
]
Seed = Annotated[int, typer.Option(help="random seed (the first one with --seeds)")]
Seeds = Annotated[int | None, typer.Option(help="number of seeds, counted from --seed")]
Examples = Annotated[int, typer.Option(help="number of cases for each check and dtype")]
Dtypes = Annotated[
    list[str] | None, typer.Option("--dtype", help="float32 or float64; both by default")
]
Only = Annotated[
    list[str] | None,
    typer.Option(help="run only this check; repeatable", autocompletion=names.checks),
]
Context = Annotated[
    str | None, typer.Option(help="shape of the context of a sample, for example 3")
]
Lacks = Annotated[
    list[str] | None, typer.Option(help="a capability that the layer lacks; repeatable")
]
Compiled = Annotated[bool, typer.Option("--compile", help="also compare with torch.compile")]
Density = Annotated[
    bool, typer.Option("--density", help="the target is a whole flow: log_prob and samples")
]
Expected = Annotated[
    Path | None,
    typer.Option("--expected-failures", help="TOML file: target, check and reason of each"),
]

TimeLimit = Annotated[float, typer.Option(help="seconds for one check on one case")]
Memory = Annotated[
    float | None, typer.Option(help="GB that the layer may allocate; unlimited by default")
]
Device = Annotated[str, typer.Option(help="where to check: cpu, cuda or mps")]

Json = Annotated[Path | None, typer.Option(help="also write the report to this file")]
Junit = Annotated[Path | None, typer.Option(help="also write JUnit XML to this file")]
Sarif = Annotated[Path | None, typer.Option(help="also write SARIF to this file")]
Html = Annotated[Path | None, typer.Option(help="also write a page to this file")]

Workers = Annotated[
    int | None, typer.Option(help="number of worker processes; one for each core by default")
]
Scheduler = Annotated[str | None, typer.Option(help="address of a running Dask scheduler")]
Out = Annotated[
    Path | None, typer.Option(help=f"folder of results; a stopped run resumes from it ({KEPT})")
]
Fresh = Annotated[bool, typer.Option("--fresh", help="delete the results in --out first")]
