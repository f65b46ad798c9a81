"""One benchmark from beginning to end: build, check, time, record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch

from benches.cells import Cell
from benches.check import measure
from benches.timing import Budget, clock, time_once
from benches.workbench import Workbench
from emcheck.bounds import Arithmetic, Measure


class Benchmark(Protocol):
    """The part of pytest-benchmark's fixture that is used."""

    extra_info: dict[str, Any]

    def pedantic(self, target: Callable[[], Any], *, rounds: int, iterations: int) -> Any: ...


class CheckFailed(AssertionError):
    """Raised for a layer whose error is over its bound; it is not timed."""


def run_cell(cell: Cell, benchmark: Benchmark, workbench: Workbench, budget: Budget) -> None:
    """Check the cell on the output of a first, cold call, then time it.

    Raises:
        CheckFailed: the error is over its bound; nothing has been timed or recorded.
    """
    setup = cell.setup
    subject = workbench.subject(setup)
    call = subject.call(cell.operation)
    with torch.no_grad():
        arithmetic = Arithmetic.of(setup.torch_dtype, setup.device)
        measured = measure(subject, cell.operation, call(), arithmetic)
        if not measured.ok:
            raise CheckFailed(_message(cell, measured))
        schedule = budget.schedule(time_once(call, clock(setup.device)))
        benchmark.extra_info.update(extra_info(cell, measured))
        benchmark.pedantic(call, rounds=schedule.rounds, iterations=schedule.calls)


def extra_info(cell: Cell, measured: Measure) -> dict[str, Any]:
    """Return what identifies a time in the report, and the error that belongs to it.

    pytest-benchmark divides a round by its calls, so the report has nothing left to divide.
    """
    setup = cell.setup
    channels, height, width = setup.event
    return {
        "layer": setup.variant.name,
        "operation": cell.operation,
        "sweep": setup.sweep,
        "channels": channels,
        "height": height,
        "width": width,
        "batch": setup.batch,
        "dtype": setup.dtype,
        "device": setup.device,
        "threads": torch.get_num_threads(),
        "calls_per_round": 1,
        "error_ratio": float(f"{measured.ratio:.4g}"),
        "error_threshold": measured.threshold,
        "error_rule": measured.rule,
    }


def _message(cell: Cell, measured: Measure) -> str:
    ill = f", ill-conditioned ({measured.condition:.3g})" if measured.ill_conditioned else ""
    return (
        f"{cell.id}: expected error over bound <= {measured.threshold:g} ({measured.rule}), "
        f"got {measured.ratio:.4g}{ill}; not timed"
    )
