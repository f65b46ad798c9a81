"""Claim f: what a d x d convolution can stand for in the place of a 1x1."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from emcheck.bounds import Arithmetic, Measure, compare
from emcheck.layers import EmergingConv2d, PeriodicConv2d
from emcheck.oracle.precision import Array
from studies.claims.core import Claim, Evidence, Fact, Row, rounding
from studies.claims.matrices import gaussian, lu_without_pivoting

_C, _DRAWS, _SIZE = 4, 500, (3, 4)

#: How far from the channel swap the matrices of the curve are.
DISTANCES = tuple(2.0**-n for n in range(1, 21))

_DOUBLE = Arithmetic.of(torch.float64)


def swap() -> Array:
    """Two channels exchanged, ``(2, 2)``."""
    return np.array([[0.0, 1.0], [1.0, 0.0]])


def near_swap(distance: float) -> Array:
    """Determinant -1, ``distance`` from the swap in its upper left entry."""
    return np.array([[distance, 1.0], [1.0, 0.0]])


def emerging_of(W: Array, dtype: torch.dtype = torch.float64) -> EmergingConv2d:
    """The emerging layer that is the 1x1 ``W = L U``: U in its first centre, L in its second."""
    layer = EmergingConv2d(len(W)).to(dtype)
    L, U = lu_without_pivoting(W)
    for conv, centre in ((layer.first, U), (layer.second, L)):
        conv.weight.data.zero_()
        conv.weight.data[:, :, 1, 1] = torch.from_numpy(centre).to(dtype)
    return layer


def balanced(layer: EmergingConv2d) -> EmergingConv2d:
    """The same map with the diagonal moved between the two, to the smaller condition numbers."""
    size = layer.first.weight.data[:, :, 1, 1].abs().amax(1)
    layer.first.weight.data /= size[:, None, None, None]
    layer.second.weight.data *= size[None, :, None, None]
    return layer


def periodic_of(W: Array) -> PeriodicConv2d:
    """The periodic layer that is the 1x1 ``W``: centre tap only."""
    layer = PeriodicConv2d(len(W)).double()
    layer.weight.data.zero_()
    layer.weight.data[:, :, 1, 1] = torch.from_numpy(W)
    return layer


def _as_1x1(layer: nn.Module, W: Array, bound: float, rule: str) -> Measure:
    """What the layer does to basis images against ``W`` at every pixel."""
    n, event = len(W) * _SIZE[0] * _SIZE[1], (len(W), *_SIZE)
    with torch.no_grad():
        z = layer(torch.eye(n, dtype=torch.float64).reshape(n, *event))[0].reshape(n, n).T.numpy()
    return compare(z, np.kron(W, np.eye(_SIZE[0] * _SIZE[1])), bound, rule)


def _generic(drawn: Array) -> tuple[list[Row], list[Fact]]:
    """Gaussian matrices through an emerging layer, alone."""
    measures, conditions = [], []
    for W in drawn:
        L, U = lu_without_pivoting(W)
        if not np.isfinite(L).all():
            continue
        size = float((np.abs(L) @ np.abs(U)).max())
        measures.append(_as_1x1(emerging_of(W), W, _DOUBLE.gamma(2 * len(W)) * size, "T1"))
        conditions.append(float(np.linalg.cond(L) * np.linalg.cond(U) / np.linalg.cond(W)))
    rows: list[Row] = [
        {"number": n, "ratio": m.ratio, "condition_of_the_factors_over_W": c}
        for n, (m, c) in enumerate(zip(measures, conditions, strict=True))
    ]
    worst = max(measures, key=lambda m: m.ratio, default=Measure(np.inf, "T1"))
    return rows, [
        Fact("share of the 1x1 drawn that an emerging layer holds", len(measures) / len(drawn),
             "==", 1.0),
        rounding("emerging layer against that 1x1", worst),
    ]  # fmt: skip


def _price() -> tuple[list[Row], list[Fact]]:
    """The condition number of the second convolution on the way to a channel swap.

    ``|W[1,0] / W[0,0]|`` is a ratio of two entries of one column of the lower triangular
    centre, whatever the scaling, so its condition number is at least ``(1 - d) / d`` for a
    matrix at distance ``d``.
    """
    rows: list[Row] = []
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 2, 4, 4, generator=generator)
    for distance in DISTANCES:
        layer = balanced(emerging_of(near_swap(distance), torch.float32))
        with torch.no_grad():
            error = (layer.inverse(layer(x)[0])[0] - x).abs().max() / x.abs().max()
        centres = [conv.weight.data[:, :, 1, 1].double() for conv in (layer.first, layer.second)]
        rows.append({
            "distance": distance, "condition_W": float(np.linalg.cond(near_swap(distance))),
            "condition_first": float(torch.linalg.cond(centres[0])),
            "condition_second": float(torch.linalg.cond(centres[1])),
            "least": (1 - distance) / distance, "float32_round_trip": float(error),
        })  # fmt: skip
    shortfall = min(row["condition_second"] / row["least"] for row in rows)
    return rows, [
        Fact("condition on the way to the swap over (1 - d) / d, smallest", shortfall, ">=", 1.0),
        Fact("condition of the 1x1 itself on that way, largest",
             max(row["condition_W"] for row in rows), "<=", 2.0),
        Fact("float32 round trip at the nearest matrix over that at the farthest",
             rows[-1]["float32_round_trip"] / rows[0]["float32_round_trip"], ">=", 1000.0),
    ]  # fmt: skip


def measure() -> Evidence:
    """Generic matrices, the swap as the exception, and all of them in a periodic layer."""
    matrices = gaussian("claim f", shape=(_DRAWS, _C, _C))
    generic, of_generic = _generic(matrices)
    price, of_price = _price()
    L, _ = lu_without_pivoting(swap())
    bound = _DOUBLE.u * (np.log2(_SIZE[0] * _SIZE[1]) + 2)  # u (log2 HW + C) S, S = 1
    exception = _as_1x1(periodic_of(swap()), swap(), bound, "T5")
    facts = [
        *of_generic,
        Fact("entries of L that are finite for the channel swap", int(np.isfinite(L).all()), "==",
             0),
        *of_price,
        rounding("periodic layer with the swap in its centre tap", exception),
    ]  # fmt: skip
    last = price[-1]
    verdict = (
        "Mostly it can: an emerging pair alone holds every 1x1 whose leading minors are not zero, "
        f"all {len(matrices)} Gaussian ones drawn. The exceptions, as a channel swap, are only "
        f"approached, at the price of condition ({last['condition_second']:.1e} at distance "
        f"{last['distance']:.1e}, never below (1 - d) / d). A periodic convolution holds every 1x1."
    )
    return Evidence(facts, verdict, {"generic": generic, "price": price})


CLAIM = Claim(
    letter="f",
    name="replace-1x1",
    doubt="What a 1x1 convolution means may not be replaceable by a d x d convolution.",
    statement=(
        "Emerging alone contains every 1x1 that has an LU factorisation without pivoting, not a "
        "channel swap; periodic contains every 1x1."
    ),
    measure=measure,
    negations={"the swap among the generic ones": lambda: Evidence(_generic(swap()[None])[1], "")},
)
