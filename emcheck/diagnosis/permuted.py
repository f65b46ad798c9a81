"""Directions that fit together once the entries are put into another order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations, product

import torch
from torch import Tensor

from emcheck.bounds import THRESHOLDS
from emcheck.checks.calling import call, call_inverse
from emcheck.copying import copy_layer
from emcheck.diagnosis.core import MECHANISM, Fit, hypothesis
from emcheck.diagnosis.covers import INVERSE, LOGDET
from emcheck.diagnosis.evidence import Evidence
from emcheck.diagnosis.inverses import UNDONE

#: All orders of at most so many channels are tried, of more only the usual ones.
_FEW = 4


def _orders(n: int) -> dict[str, list[int]]:
    """Orders of ``n`` entries along one axis by what an author calls them."""
    half, index = n // 2, list(range(n))
    upper = n - half
    named = {
        "unchanged": index,
        "reversed": index[::-1],
        "with its halves exchanged": index[half:] + index[:half],
        "interleaved instead of half after half": [i // 2 + (i % 2) * upper for i in range(n)],
        "half after half instead of interleaved": index[::2] + index[1::2],
        "with its odd entries first": index[1::2] + index[::2],
    }
    if n <= _FEW:
        for chosen in permutations(index):
            named.setdefault(f"in the order {list(chosen)}", list(chosen))
    found: dict[str, list[int]] = {}
    for name, order in named.items():
        if order not in found.values():
            found[name] = order
    return found


@hypothesis("order_differs", rank=MECHANISM + 1, when=UNDONE, explains=INVERSE | LOGDET)
def order_differs(evidence: Evidence) -> Iterator[Fit]:
    """``Q inverse(P forward(x)) = x`` for orders P and Q of one axis, not both unchanged."""
    cases = [replace(case, event=evidence.base.event, batch=3) for case in evidence.spread[:3]]
    kept = list(range(evidence.base.event[0]))
    if any(_fits(evidence, case, 1, kept, kept) for case in cases):
        return  # as it is the round trip is right
    for axis in range(1, len(evidence.base.event) + 1):
        orders = _orders(evidence.base.event[axis - 1])
        for (before, P), (after, Q) in product(orders.items(), orders.items()):
            if before == after == "unchanged":
                continue
            if all(_fits(evidence, case, axis, P, Q) for case in cases):
                yield Fit("order_differs", _told(before, after, axis), _numbers(axis, P, Q))
                return


def _fits(evidence: Evidence, case: object, axis: int, P: list[int], Q: list[int]) -> bool:
    trial = evidence.trial(case)  # type: ignore[arg-type]
    x = trial.x
    z, _ = call(copy_layer(trial.layer), x)
    if z.shape != x.shape:
        return False
    xh = _ordered(call_inverse(copy_layer(trial.layer), _ordered(z, axis, P))[0], axis, Q)
    rounding = THRESHOLDS["T9"] * evidence.unit * float(x.abs().max())
    return bool(((xh - x).abs() <= rounding).all())


def _ordered(value: Tensor, axis: int, order: list[int]) -> Tensor:
    return value.index_select(axis, torch.tensor(order))


def _told(before: str, after: str, axis: int) -> str:
    what = "channels" if axis == 1 else f"entries along axis {axis}"
    if after == "unchanged":
        return (
            f"Forward hands its latent on in another order than the inverse expects: with the "
            f"{what} {before} the inverse is right."
        )
    if before == "unchanged":
        return f"The inverse returns its {what} in another order: {after} they are right."
    return (
        f"Both directions join the parts that they split in another order: with the {what} of "
        f"the latent {before}, and of the result {after}, the round trip is exact."
    )


def _numbers(axis: int, P: list[int], Q: list[int]) -> str:
    return f"Q inverse(P forward(x)) = x along axis {axis} in 3 of 3 cases, P = {P}, Q = {Q}"
