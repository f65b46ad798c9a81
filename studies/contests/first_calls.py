"""What the first call of compiled code costs, in a process of its own.

``python -m studies.contests.first_calls`` prints one record for each call; where Numba keeps its
code is chosen by ``NUMBA_CACHE_DIR``, so that an empty folder shows what compiling costs.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from typing import Any

import torch

from emcheck.layers import EmergingConv2d, PeriodicConv2d
from studies.contests.layers import Call, both_ways, masked, pointwise, seconds_of

#: Calls after the first one.
LATER = 5


def _calls() -> Iterator[tuple[str, int, str, Call]]:
    """Name, batch, size and call: one for each piece of code that is compiled by itself."""
    for batch, side, lanes in ((32, 16, "samples"), (1, 64, "rows")):
        contest = masked(batch, 12, side)
        yield (
            f"masked inverse, lanes of {lanes}",
            batch,
            f"12x{side}x{side}",
            contest.calls["lanes"],
        )
    emerging = both_ways(EmergingConv2d, 32, 12, 16).calls["forward"]
    yield "emerging forward", 32, "12x16x16", emerging
    yield "emerging gradients", 32, "12x16x16", _gradients
    yield "periodic inverse", 32, "12x16x16", both_ways(PeriodicConv2d, 32, 12, 16).calls["inverse"]
    yield "1x1 QR forward", 32, "12x16x16", pointwise(12, 16).calls["QR"]


@torch.enable_grad()
def _gradients() -> object:
    layer = EmergingConv2d(12, generator=torch.Generator().manual_seed(0))
    x = torch.ones(32, 12, 16, 16)
    return torch.autograd.grad(layer(x)[0].sum(), list(layer.parameters()))


@torch.no_grad()
def first_calls() -> Iterator[dict[str, Any]]:
    """One record for each call: ``first`` in a fresh process, and the median of later ones."""
    for name, batch, event, call in _calls():
        first = seconds_of(call, 1)
        later = statistics.median(seconds_of(call, 1) for _ in range(LATER))
        yield {
            "batch": batch,
            "event": event,
            "competitor": name,
            "seconds": later,
            "rounds": LATER,
            "first": first,
            "peak_memory": None,
        }


if __name__ == "__main__":
    for row in first_calls():
        print(json.dumps(row), flush=True)
