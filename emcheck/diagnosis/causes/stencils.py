"""Forward and inverse as stencils: dilation, masks, padding."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from emcheck.diagnosis.causes.inverses import broken, broken_pairs
from emcheck.diagnosis.consequences import FORWARD, INVERSE, UNDONE
from emcheck.diagnosis.evidence.jacobians import Maps
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.rank import MECHANISM, Fit, hypothesis
from emcheck.oracle.precision import Array


@hypothesis("dilation_ignored", rank=MECHANISM, when=UNDONE, explains=INVERSE)
def other_dilation(evidence: Evidence) -> Iterator[Fit]:
    """The inverse ignores the dilation: its taps are forward's at distances divided by it."""
    factors = [_dilation(m) for m in broken_pairs(evidence)]
    if factors and None not in factors and len(set(factors)) == 1 and len(factors) >= 1:
        D = factors[0]
        yield Fit(
            "dilation_ignored",
            f"The inverse uses dilation 1 where forward uses {D}.",
            f"the taps of J_inverse^-1 equal those of J_forward at distances divided by {D}, in "
            f"{len(factors)} of {len(factors)} cases",
        )


def _dilation(m: Maps) -> int | None:
    if len(m.case.event) != 3:
        return None
    forward, back = (_stencil(A, m) for A in (m.F, m.implied))
    for D in (2, 3, 4):
        moved = {(a // D, b // D): tap for (a, b), tap in forward.items() if not (a % D or b % D)}
        if len(moved) != len(forward) or set(moved) - set(back):
            continue
        extra = [tap for key, tap in back.items() if key not in moved]
        if all(m.close(back[key], tap) for key, tap in moved.items()) and not extra:
            return D
    return None


def _stencil(A: Array, m: Maps) -> dict[tuple[int, int], Array]:
    """Return the nonzero taps ``(C, C)`` by distance, each from the first pixel that has it."""
    C, H, W = m.case.event
    blocks = A.reshape(C, H, W, C, H, W)
    spare = m.unit * float(np.abs(A).max())
    taps: dict[tuple[int, int], Array] = {}
    for i, j, p, q in product(range(H), range(W), range(H), range(W)):
        tap = blocks[:, i, j, :, p, q]
        if (p - i, q - j) not in taps and (np.abs(tap) > spare).any():
            taps[p - i, q - j] = tap
    return taps


@hypothesis("taps_ignored_by_inverse", rank=MECHANISM + 3, when=UNDONE, explains=INVERSE | FORWARD)
def masks_differ(evidence: Evidence) -> Iterator[Fit]:
    """The inverse ignores weights that forward uses: ``J_g^-1`` is ``J_f`` with some entries 0."""
    counts = []
    for m in broken_pairs(evidence):
        spare = m.unit * float(np.abs(m.F).max())
        differ = ~m.same(m.F, m.implied)
        zero_back = differ & (np.abs(m.implied) <= spare)
        if not differ.any() or not (zero_back == differ).all():
            return
        counts.append((int(differ.sum()), int((np.abs(m.F) > spare).sum())))
    if len(counts) >= 2:
        few, many = counts[0]
        yield Fit(
            "taps_ignored_by_inverse",
            "Forward uses weights that the inverse ignores: their masks differ.",
            f"{few} of {many} nonzero entries of J_forward are 0 in J_inverse^-1, the others are "
            f"equal, in {len(counts)} of {len(counts)} cases",
        )


@hypothesis("border_differs", rank=MECHANISM + 2, when=UNDONE, explains=INVERSE | FORWARD)
def border(evidence: Evidence) -> Iterator[Fit]:
    """The directions pad differently: ``J_g^-1`` and ``J_f`` differ in border rows only."""
    counts = []
    for m in broken(evidence.wide_maps):
        inside = interior(~m.same(m.F, m.implied), m)
        if inside is None:
            return
        counts.append(inside)
    if len(counts) >= 2:
        yield Fit(
            "border_differs",
            "Forward and inverse treat the border differently (padding).",
            f"J_forward and J_inverse^-1 are equal in the rows of all {counts[0]} inner pixels "
            f"and differ at the border, in {len(counts)} of {len(counts)} cases",
        )


def interior(differ: Array, m: Maps) -> int | None:
    """Return the number of inner pixels if only rows of border pixels differ, else None."""
    if len(m.case.event) != 3 or not differ.any():
        return None
    H, W = m.case.event[1:]
    rows = differ.any(axis=1)
    if rows.size % (H * W):
        return None
    wrong: Array = np.asarray(rows.reshape(-1, H, W).any(axis=0))
    for margin in (1, 2, 3):
        inner = wrong[margin : H - margin, margin : W - margin]
        if inner.size >= 2 and not inner.any():
            return int(inner.size)
    return None
