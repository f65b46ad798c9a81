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

from emcheck.layers.compiled_kinds import compiled_kinds
from studies.contests.contest import seconds_of

#: Calls after the first one.
LATER = 5


def first_calls() -> Iterator[dict[str, Any]]:
    """One record for each call: ``first`` in a fresh process, and the median of later ones."""
    for kind in compiled_kinds(torch.float32):
        first = seconds_of(kind.call, 1)
        later = statistics.median(seconds_of(kind.call, 1) for _ in range(LATER))
        yield {
            "batch": kind.shape[0],
            "event": "x".join(map(str, kind.shape[1:])),
            "competitor": kind.name,
            "seconds": later,
            "rounds": LATER,
            "first": first,
            "peak_memory": None,
        }


if __name__ == "__main__":
    for row in first_calls():
        print(json.dumps(row), flush=True)
