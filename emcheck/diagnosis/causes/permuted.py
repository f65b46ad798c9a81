"""Directions that undo each other only after their entries are reordered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, permutations

import numpy as np
import torch
from torch import Tensor, nn

from emcheck._internal.copying import copy_layer
from emcheck.bounds import THRESHOLDS
from emcheck.checks.calling import call, call_inverse
from emcheck.checks.case import Case
from emcheck.diagnosis.causes.inverses import broken_pairs, permutation_of
from emcheck.diagnosis.consequences import INVERSE, LOGDET, UNDONE
from emcheck.diagnosis.evidence.jacobians import Maps
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.rank import MECHANISM, Fit, hypothesis
from emcheck.oracle.precision import Array

#: Up to this many entries, all orders are tried; above, only the usual ones.
_FEW = 4

#: Up to this many entries, every order of three blocks is tried as well.
_BLOCKS = 8


def _orders(n: int) -> dict[str, list[int]]:
    """Return orders of ``n`` entries along one axis, by name."""
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
    if _FEW < n <= _BLOCKS:
        for cuts in combinations(range(1, n), 2):
            blocks = [index[: cuts[0]], index[cuts[0] : cuts[1]], index[cuts[1] :]]
            for arranged in permutations(blocks):
                joined = [i for block in arranged for i in block]
                named.setdefault(f"in the order {joined}", joined)
    found: dict[str, list[int]] = {}
    for name, order in named.items():
        if order not in found.values():
            found[name] = order
    return found


@hypothesis("order_differs", rank=MECHANISM + 1, when=UNDONE, explains=INVERSE | LOGDET)
def order_differs(evidence: Evidence) -> Iterator[Fit]:
    """The entry order differs: ``Q inverse(P forward(x)) = x`` for orders P and Q of one axis."""
    cases = [replace(case, event=evidence.base.event, batch=3) for case in evidence.spread[:3]]
    kept = list(range(evidence.base.event[0]))
    if any(_equal(evidence, _back(evidence, case, 1, kept), 1, kept) for case in cases):
        return  # the round trip is right as it is
    for axis in range(1, len(evidence.base.event) + 1):
        orders = _orders(evidence.base.event[axis - 1])
        for before, P in orders.items():
            backs = [_back(evidence, case, axis, P) for case in cases]
            for after, Q in orders.items():
                if before == after == "unchanged":
                    continue
                if all(_equal(evidence, back, axis, Q) for back in backs):
                    yield Fit("order_differs", _told(before, after, axis), _numbers(axis, P, Q))
                    return


def _back(evidence: Evidence, case: Case, axis: int, P: list[int]) -> tuple[Tensor, Tensor] | None:
    """Return ``x`` and ``inverse(P forward(x))``, or None if forward changes the shape."""
    trial = evidence.trial(case)
    z, _ = call(copy_layer(trial.layer), trial.x)
    if z.shape != trial.x.shape:
        return None
    return trial.x, call_inverse(copy_layer(trial.layer), _ordered(z, axis, P))[0]


def _equal(evidence: Evidence, back: tuple[Tensor, Tensor] | None, axis: int, Q: list[int]) -> bool:
    if back is None:
        return False
    x, xh = back[0], _ordered(back[1], axis, Q)
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


@hypothesis("permutation_not_inverted", rank=MECHANISM, when=UNDONE, explains=INVERSE)
def permutation_kept(evidence: Evidence) -> Iterator[Fit]:
    """``J_f J_g`` or ``J_g J_f`` is a permutation: of P where ``P^T`` is due, ``P^2`` is left."""
    broken = broken_pairs(evidence)
    for order in ("forward after inverse", "inverse after forward"):
        index = [permutation_of(m, order) for m in broken]
        if (
            len(index) >= 1
            and len(index) == len(evidence.maps)
            and all(i is not None for i in index)
        ):
            m, moved = broken[0], index[0]
            assert moved is not None
            channels = _channels_of(moved, m)
            twice = _is_held_twice(moved, m, evidence.trial().layer) or all(
                _is_twice(i, one) for i, one in zip(index, broken, strict=True)
            )
            yield Fit(
                "permutation_not_inverted",
                "The inverse applies the permutation P where its transpose (the inverse "
                "permutation) is due."
                if twice
                else "The data come back in another order: a permutation is not undone, because "
                "the inverse applies it again, leaves it out, or undoes another one.",
                f"{order} is a permutation{channels} in {len(index)} of {len(index)} cases"
                + (", P^2 for a P that the layer has" if twice else ""),
            )
            return


def _is_held_twice(moved: Array, m: Maps, layer: nn.Module) -> bool:
    """Whether channels move by ``P^2`` for an order P that the layer holds, and by no other P."""
    C = m.case.event[0]
    channels = moved.reshape(C, -1)
    order = (channels[:, 0] // channels.shape[1]).tolist()
    held = [
        found
        for module in layer.modules()
        for value in (*vars(module).values(), *module.buffers(recurse=False))
        if (found := _order_of(value, C))
    ]
    whole = np.array_equal(channels % channels.shape[1], np.indices(channels.shape)[1])
    return whole and order not in held and any([p[i] for i in p] == order for p in held)


def _order_of(value: object, C: int) -> list[int]:
    """The numbers of a list or tensor if they are an order of C channels, else nothing."""
    if isinstance(value, Tensor | np.ndarray):
        value = value.tolist() if value.ndim == 1 and len(value) == C else ()
    if not isinstance(value, list | tuple) or not all(type(i) is int for i in value):
        return []
    return list(value) if sorted(value) == list(range(C)) else []


def _is_twice(moved: Array | None, m: Maps) -> bool:
    """Whether forward, but for scales, is a permutation P, and what is left is ``P^2``."""
    support = np.abs(m.F) > np.abs(m.F).max() * 2.0**-40
    if moved is None or (support.sum(axis=0) != 1).any() or (support.sum(axis=1) != 1).any():
        return False
    P = support.argmax(axis=1)
    return bool(np.array_equal(P[P], moved))


def _channels_of(index: Array, m: Maps) -> str:
    pixels = len(index) // m.case.event[0]
    moved = (index // pixels)[::pixels]
    if np.array_equal(
        index, np.repeat(moved, pixels) * pixels + np.tile(np.arange(pixels), len(moved))
    ):
        return f" of the channels, {moved.tolist()},"
    return ""
