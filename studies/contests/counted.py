"""What a layer should cost: products and bytes counted, and divided by what this machine does.

Two probes run beside the contests: a product of matrices says how many multiplications this
machine does in a second, a copy how many bytes it moves. A layer that is limited by either takes
the larger of both times.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
import torch

#: The contest of the probes, and their names.
MACHINE, PRODUCTS, COPY = "machine", "product of matrices", "copy"

#: Side of the matrices, and numbers of the copy: 64 MB read and written.
SIDE, NUMBERS = 1024, 1 << 23

#: Batch, channels and side of what is counted.
SIZES = ((32, 12, 16), (32, 24, 8), (32, 48, 4), (32, 12, 32), (32, 12, 64))


@dataclass(frozen=True)
class Count:
    """The products and the bytes of one call in float32, and where it was measured."""

    what: str
    contest: str
    competitor: str
    products: Callable[[int, int, int], float]  # of batch, channels, pixels
    traffic: Callable[[int, int, int], float]


def probes() -> dict[str, Callable[[], object]]:
    """The calls that say what the machine does."""
    a = torch.ones(SIDE, SIDE)
    source = torch.ones(NUMBERS)
    target = torch.empty_like(source)
    return {PRODUCTS: lambda: a @ a, COPY: lambda: target.copy_(source)}


def _image(B: int, C: int, N: int) -> float:
    """Bytes of a batch that is read once and written once."""
    return 8.0 * B * C * N


def _triangle(B: int, C: int, N: int) -> float:
    """Three dense taps of a square mask and the triangle of the centre, at every pixel."""
    return B * N * (3 * C * C + C * (C + 1) / 2)


def _fourier(B: int, C: int, N: int) -> float:
    """A real transform forth and back: ``5/2 N log2 N`` operations each, two for a product."""
    return B * C * 2.5 * N * math.log2(N)


COUNTS = (
    Count(
        "1x1 dense, inverse: one LU, two triangles",
        "1x1 convolution",
        "dense inverse",
        lambda B, C, N: B * N * C * C + C**3 / 3,
        _image,
    ),
    Count(
        "1x1 PLU, inverse: two triangles",
        "1x1 convolution",
        "PLU inverse",
        lambda B, C, N: B * N * C * C,
        _image,
    ),
    Count(
        "masked 3x3, inverse: three taps and a triangle",
        "masked convolution",
        "layer inverse",
        _triangle,
        _image,
    ),
    Count(
        "emerging 3x3, inverse: the same twice, in the cache between",
        "EmergingConv2d",
        "inverse",
        lambda B, C, N: 2 * _triangle(B, C, N),
        _image,
    ),
    Count(
        "emerging 3x3, forward: the same",
        "EmergingConv2d",
        "forward",
        lambda B, C, N: 2 * _triangle(B, C, N),
        _image,
    ),
    Count(
        "periodic 3x3, inverse: transforms, an LU and B systems for half of the frequencies",
        "PeriodicConv2d",
        "inverse",
        lambda B, C, N: _fourier(B, C, N) + N / 2 * 4 * (C**3 / 3 + B * C * C),
        lambda B, C, N: 3 * _image(B, C, N),
    ),
    Count(
        "periodic 3x3, forward: nine taps, an LU for half of the frequencies",
        "PeriodicConv2d",
        "forward",
        lambda B, C, N: 9 * B * N * C * C + N / 2 * 4 * C**3 / 3,
        _image,
    ),
)


def count_frame(contests: pd.DataFrame) -> pd.DataFrame:
    """One row for each count, size and thread number: counted, expected and measured.

    ``contests`` are the rows of ``contest_frame``; empty if no probe was measured.
    """
    times = contests.set_index(["threads", "contest", "batch", "event", "competitor"])["seconds"]
    rows = []
    for threads in sorted(set(contests["threads"])):
        probed = [(threads, MACHINE, 1, "1x1x1", name) for name in (PRODUCTS, COPY)]
        if not all(key in times for key in probed):
            continue
        product, copy = (float(times[key]) for key in probed)
        per_second, moved = SIDE**3 / product, 8.0 * NUMBERS / copy
        for count in COUNTS:
            for B, C, side in SIZES:
                key = (threads, count.contest, B, f"{C}x{side}x{side}", count.competitor)
                measured = times.get(key)
                if measured is None:
                    continue
                products, traffic = (f(B, C, side * side) for f in (count.products, count.traffic))
                expected = max(products / per_second, traffic / moved)
                rows.append(
                    {
                        "what": count.what,
                        "threads": threads,
                        "size": f"{B}x{C}x{side}x{side}",
                        "products": products,
                        "bytes": traffic,
                        "expected": expected,
                        "measured": float(measured),
                        "ratio": float(measured) / expected,
                    }
                )
    return pd.DataFrame(rows)
