"""Causes of a difference between forward and its definition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from emcheck.diagnosis.causes.stencils import interior
from emcheck.diagnosis.consequences import FORWARD, INVERSE, LOGDET
from emcheck.diagnosis.evidence.jacobians import Maps
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.rank import MECHANISM, Fit, hypothesis
from emcheck.oracle.precision import Array

_WRONG = (
    "forward_matches_definition",
    "jacobian_matches_definition",
    "jacobian_is_triangular",
    "reversed_is_flipped",
    "jacobian_is_block_circulant",
    "shift_is_cyclic",
)
_ALL = FORWARD | INVERSE | LOGDET


def _defined(evidence: Evidence) -> list[Maps]:
    """Return the maps with a definition if there are two or more and forward is wrong in one."""
    return _wrong_ones(evidence.maps)


def _wrong_ones(known: Sequence[Maps]) -> list[Maps]:
    maps = [m for m in known if m.D is not None and m.D.shape == m.F.shape]
    wrong = any(m.D is not None and not m.close(m.F, m.D) for m in maps)
    return maps if wrong and len(maps) >= 2 else []


@hypothesis(
    "mask_too_strict",
    "mask_too_loose",
    "mask_scaled",
    "channels_not_flipped",
    rank=MECHANISM,
    when=_WRONG,
    explains=_ALL,
)
def wrong_mask(evidence: Evidence) -> Iterator[Fit]:
    """The mask is too strict, too loose, flipped over space only, or scales part of the weights."""
    maps = _defined(evidence)
    if not maps:
        return
    counts = np.sum([_mask_counts(m) for m in maps], axis=0)
    differ, missing, extra, live = (int(n) for n in counts)
    told = f"in {len(maps)} cases {live} entries are nonzero in either"
    if differ == missing > 0:
        text = "The mask is too strict: weights that the definition uses are set to zero."
        yield Fit("mask_too_strict", text, f"{told}, {missing} of them 0 in J_forward alone")
    elif differ == extra > 0:
        text = "The mask is too loose: weights that the definition masks are used."
        yield Fit("mask_too_loose", text, f"{told}, {extra} of them 0 in the definition alone")
    elif missing and extra and differ == missing + extra:
        text = (
            "The mask is flipped over space but not over channels: it is triangular the wrong way."
        )
        numbers = f"{told}, {missing} are 0 in J_forward alone and {extra} in the definition alone"
        yield Fit("channels_not_flipped", text, numbers)
    elif not missing and not extra and (factor := _one_factor(maps)) is not None:
        text = f"Part of the weights is scaled by {factor:.6g}: a soft mask, or one applied twice."
        numbers = f"{differ} of {live} nonzero entries of J_forward are {factor:.6g} times the "
        yield Fit("mask_scaled", text, numbers + "definition's, the others are equal")


def _mask_counts(m: Maps) -> tuple[int, int, int, int]:
    """Count entries: different, 0 in J only, 0 in the definition only, nonzero in at least one."""
    assert m.D is not None
    spare = m.unit * float(np.abs(m.D).max())
    differ = ~m.same(m.F, m.D)
    missing, extra = differ & (np.abs(m.F) <= spare), differ & (np.abs(m.D) <= spare)
    live = (np.abs(m.F) > spare) | (np.abs(m.D) > spare)
    return int(differ.sum()), int(missing.sum()), int(extra.sum()), int(live.sum())


def _one_factor(maps: list[Maps]) -> float | None:
    """The factor between the entries that differ, if it is the same for all of them."""
    quotients = []
    for m in maps:
        assert m.D is not None
        differ = ~m.same(m.F, m.D)
        quotients += (m.F[differ] / m.D[differ]).tolist()
        factor = float(np.median(quotients))
        if not m.close(m.F[differ], factor * m.D[differ]):
            return None
    return float(np.median(quotients)) if len(quotients) >= 2 else None


@hypothesis("kernel_flipped", rank=MECHANISM, when=_WRONG, explains=_ALL)
def kernel_flipped(evidence: Evidence) -> Iterator[Fit]:
    """Forward is the definition with its kernel flipped: convolution instead of correlation."""
    maps = _defined(evidence)
    for m in maps:
        trial = evidence.trial(m.case)
        kernels = [p for p in trial.layer.parameters() if p.dim() == 4 and p.shape[-1] > 1]
        for kernel in kernels:
            kernel.data.copy_(kernel.data.flip(2, 3))
        definition = trial.definition
        if not kernels or definition is None:
            return
        flipped = np.asarray(definition.jacobian(m.x.reshape(1, *m.case.event)), np.float64)
        if not m.close(m.F, flipped):
            return
    if maps:
        yield Fit(
            "kernel_flipped",
            "The kernel is flipped in space: convolution where cross-correlation is defined.",
            f"J_forward equals the definition with the flipped kernel in {len(maps)} of "
            f"{len(maps)} cases",
        )


@hypothesis("outputs_permuted", rank=MECHANISM - 1, when=_WRONG, explains=_ALL)
def outputs_permuted(evidence: Evidence) -> Iterator[Fit]:
    """Forward returns the definition's outputs in another order."""
    maps = _defined(evidence)
    moved = [_row_order(m) for m in maps]
    if maps and all(order is not None for order in moved):
        order, m = moved[0], maps[0]
        assert order is not None
        count = int((order != np.arange(len(order))).sum())
        yield Fit(
            "outputs_permuted",
            "The outputs are the definition's in another order of channels.",
            f"{count} of {len(order)} outputs stand at another place, all with the right value, "
            f"in {len(maps)} of {len(maps)} cases such as {m.case.event}",
        )


def _row_order(m: Maps) -> Array | None:
    assert m.D is not None
    equal = np.array([m.same(m.F[i][None], m.D).all(axis=1) for i in range(len(m.F))])
    if not (equal.sum(axis=1) == 1).all() or not (equal.sum(axis=0) == 1).all():
        return None
    return np.asarray(equal.argmax(axis=1))


@hypothesis("wrong_padding", rank=MECHANISM - 2, when=_WRONG, explains=_ALL)
def wrong_padding(evidence: Evidence) -> Iterator[Fit]:
    """Forward pads differently: its Jacobian is wrong only in the rows of border pixels."""
    maps = _wrong_ones(evidence.wide_maps)
    inner = [interior(~m.same(m.F, m.D), m) for m in maps if m.D is not None]
    counts = [n for n in inner if n is not None]
    if maps and len(counts) == len(maps):
        yield Fit(
            "wrong_padding",
            "Forward pads the border in another way than the definition.",
            f"right in the rows of all {counts[0]} inner pixels, wrong at the border, in "
            f"{len(maps)} of {len(maps)} cases",
        )


@hypothesis(
    "constant_added",
    rank=MECHANISM,
    when=("forward_matches_definition", "shift_moves_the_latent"),
    explains=_ALL,
)
def constant_added(evidence: Evidence) -> Iterator[Fit]:
    """Forward adds a constant that the definition does not have; its Jacobian is right."""
    added = []
    for m in evidence.maps:
        if m.D is None or m.defined is None or not m.close(m.F, m.D) or m.close(m.z, m.defined):
            return
        other = evidence.trial(m.case)
        again = other.sample(61, batch=1)
        z = other.layer(again)[0].detach().double().numpy().reshape(-1)
        assert other.definition is not None
        defined = np.asarray(other.definition.value(again.double().numpy()), np.float64).reshape(-1)
        if not m.close(z - defined + m.z, m.z - m.defined + m.z):
            return
        added.append((m.z - m.defined).reshape(m.case.event))
    if len(added) >= 2:
        offset = added[0]
        spare = evidence.maps[0].unit * float(np.abs(evidence.maps[0].z).max())
        varies = len(offset.shape) > 1 and bool(
            (np.ptp(offset.reshape(len(offset), -1), axis=1) > spare).any()
        )
        where = "that depends on the position" if varies else "(a bias)"
        yield Fit(
            "constant_added",
            f"Forward adds a constant {where} that the definition does not have.",
            f"forward - definition lies between {offset.min():.6g} and {offset.max():.6g}, the "
            f"same for any x, in {len(added)} of {len(added)} cases",
        )
