"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Context = Annotated[
    str | None, typer.Option(help="shape of the context of a sample, for example 3")
]

Lacks = Annotated[
    list[str] | None, typer.Option(help="a capability that the layer lacks; repeatable")
]

TimeLimit = Annotated[float, typer.Option(help="seconds for one check on one case")]
