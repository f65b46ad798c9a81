"""What a wrong inverse does instead of undoing forward."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import torch

from emcheck._internal.copying import copy_layer
from emcheck.bounds import APPROXIMATE
from emcheck.checks.calling import call, call_inverse
from emcheck.diagnosis.consequences import INVERSE, UNDONE
from emcheck.diagnosis.evidence.jacobians import Maps
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.rank import MECHANISM, SEEN, SYMPTOM, Fit, hypothesis
from emcheck.oracle.precision import Array


def broken_pairs(evidence: Evidence) -> list[Maps]:
    """Return the maps whose inverse has a Jacobian but does not undo forward."""
    return broken(evidence.maps)


def broken(maps: Sequence[Maps]) -> list[Maps]:
    return [m for m in maps if m.G is not None and not m.close(m.G @ m.F, np.eye(len(m.F)))]


@hypothesis("rolled", rank=MECHANISM - 2, when=UNDONE, explains=INVERSE)
def rolled(evidence: Evidence) -> Iterator[Fit]:
    """The inverse returns the data shifted cyclically by a constant number of pixels."""
    moves = []
    for m in evidence.maps:
        event = m.case.event
        if len(event) < 2:
            return
        axes = tuple(range(1, len(event)))
        back, x = m.xh.reshape(event), m.x.reshape(event)
        found = {
            tuple(min(s, s - n, key=abs) for s, n in zip(shift, event[1:], strict=True))
            for shift in product(*(range(n) for n in event[1:]))
            if any(shift) and m.close(np.roll(back, shift, axes), x)
        }
        moves.append(found)
    common = set.intersection(*moves) if len(moves) >= 2 else set()
    if common:
        shift = min(common, key=lambda s: (sum(map(abs, s)), s))
        told = ", ".join(str(-s) for s in shift)
        kernel = evidence.base.options.get("kernel_size")
        centre = f" (kernel_size = {kernel}: r = {kernel // 2})" if kernel else ""
        yield Fit(
            "rolled",
            f"The inverse returns the data shifted by ({told}) pixels: the kernel's centre is "
            "moved by the wrong amount.",
            f"roll(inverse(forward(x)), {shift}) = x in {len(moves)} of {len(moves)} cases{centre}",
        )


@hypothesis("flip_not_undone", rank=MECHANISM - 1, when=UNDONE, explains=INVERSE)
def flip_not_undone(evidence: Evidence) -> Iterator[Fit]:
    """The data come back with rows or columns of some channels in reverse order."""
    found = {_flips(m) for m in broken_pairs(evidence)}
    flips = found.pop() if len(found) == 1 else None
    if flips is None or len(broken_pairs(evidence)) < 2:
        return
    axes, channels = flips
    told = " and ".join({-2: "rows", -1: "columns"}[axis] for axis in axes)
    yield Fit(
        "flip_not_undone",
        f"The data come back with the {told} of channels {list(channels)} in reverse order: a "
        "flip is not undone.",
        f"inverse after forward is that flip in {len(broken_pairs(evidence))} of "
        f"{len(evidence.maps)} cases",
    )


def _flips(m: Maps) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Return the flipped axes of space and the channels, if ``J_g J_f`` is nothing but that."""
    index, event = permutation_of(m, "inverse after forward"), m.case.event
    if index is None or len(event) != 3:
        return None
    numbers = np.arange(len(index)).reshape(event)
    moved = index.reshape(event)
    for axes in ((-1,), (-2,), (-2, -1)):
        flipped = np.flip(numbers, axes)
        changed = [c for c in range(event[0]) if not np.array_equal(moved[c], numbers[c])]
        if changed and np.array_equal(moved[changed], flipped[changed]):
            return axes, tuple(changed)
    return None


def permutation_of(m: Maps, order: str) -> Array | None:
    assert m.G is not None
    P = m.F @ m.G if order == "forward after inverse" else m.G @ m.F
    rounded = np.rint(P)
    ones = (np.abs(rounded) == 1).sum(axis=0), (np.abs(rounded) == 1).sum(axis=1)
    exact = np.isin(rounded, (0.0, 1.0)).all() and all((n == 1).all() for n in ones)
    if not exact or not m.close(P, rounded) or np.array_equal(rounded, np.eye(len(P))):
        return None
    return np.asarray(rounded.argmax(axis=1))


@hypothesis(
    "transpose_as_inverse", "inverse_is_forward", rank=MECHANISM, when=UNDONE, explains=INVERSE
)
def transposed(evidence: Evidence) -> Iterator[Fit]:
    """The inverse applies the transpose (``J_g = J_f^T``), or forward again (``J_g = J_f``)."""
    broken = broken_pairs(evidence)
    if len(broken) < 2 or len(broken) < len(evidence.maps):
        return
    told = f"in {len(broken)} of {len(broken)} cases"
    symmetric = all(m.close(m.F, m.F.T) for m in broken)
    if not symmetric and all(m.G is not None and m.close(m.G, m.F.T) for m in broken):
        text = "The inverse multiplies by the transpose: right for an orthogonal matrix only."
        yield Fit("transpose_as_inverse", text, f"J_inverse = J_forward^T {told}")
    elif all(m.G is not None and m.close(m.G, m.F) for m in broken):
        text = "The inverse applies the forward map once more."
        yield Fit("inverse_is_forward", text, f"J_inverse = J_forward {told}")


@hypothesis("bias_not_undone", rank=MECHANISM, when=UNDONE, explains=INVERSE)
def bias_kept(evidence: Evidence) -> Iterator[Fit]:
    """The inverse does not undo the bias: the linear parts cancel, but a constant remains."""
    constant = []
    for m in evidence.maps:
        if m.G is None or not m.close(m.G @ m.F, np.eye(len(m.F))) or m.close(m.xh, m.x):
            return
        if not np.abs(m.xh - m.x).max() > APPROXIMATE**5 * np.abs(m.x).max():
            return  # rounding, not a shift
        constant.append(np.abs(m.xh - m.x).max())
    if len(constant) >= 2:
        yield Fit(
            "bias_not_undone",
            "The inverse does not undo the shift (bias): it is left out, has the wrong sign, or is "
            "undone in the wrong order.",
            f"J_inverse J_forward = I, but inverse(forward(x)) - x = {constant[0]:.6g} (largest "
            f"entry) in {len(constant)} of {len(constant)} cases",
        )


@hypothesis("iteration_stopped_early", rank=MECHANISM, when=UNDONE, explains=INVERSE)
def stopped_early(evidence: Evidence) -> Iterator[Fit]:
    """The inverse is m steps of ``x + D^-1 (z - f(x))``: ``I - J_g J_f = (I - D^-1 J_f)^m``."""
    for name, divide in (("D^-1 J, D its diagonal", True), ("J", False)):
        steps = [_steps(m, divide) for m in evidence.maps]
        known = [s for s in steps if s is not None]
        if known and len(known) == len(steps) and len({s for s in known if s}) == 1:
            count = max(known)
            yield Fit(
                "iteration_stopped_early",
                f"The inverse is an iteration stopped early, after {count} "
                f"step{'s' if count > 1 else ''}.",
                f"I - J_inverse J = M^{count} with M = I - {name}, in {len(steps)} of "
                f"{len(steps)} cases",
            )
            return


def _steps(m: Maps, divide: bool) -> int | None:
    """Return the power that fits, 0 if the iteration has converged, None if no power fits."""
    if m.G is None:
        return None
    n = len(m.F)
    left = np.eye(n) - m.G @ m.F
    if m.close(left + np.eye(n), np.eye(n)):
        return 0
    diagonal = np.diagonal(m.F)[:, None] if divide else np.ones((n, 1))
    M = np.eye(n) - m.F / diagonal
    power = np.eye(n)
    for count in range(1, 200):
        power = power @ M
        if m.close(left + np.eye(n), power + np.eye(n)) and not m.close(left, np.zeros((n, n))):
            return count
    return None


@hypothesis("stabiliser_in_denominator", rank=SEEN + 3, when=UNDONE, explains=INVERSE)
def stabilised(evidence: Evidence) -> Iterator[Fit]:
    """The inverse divides by ``s + eps``: ``J_g^-1 - J_f`` is diagonal with entries +-eps or 0."""
    found = []
    for m in broken_pairs(evidence):
        excess = m.implied - m.F
        diagonal = np.diagonal(excess)
        rest = excess - np.diag(diagonal)
        if not m.close(m.F + rest, m.F):
            return
        sizes = np.abs(diagonal)
        eps = float(sizes.max())
        spare = m.unit * float(np.abs(m.F).max())
        if not ((np.abs(sizes - eps) <= spare) | (sizes <= spare)).all() or eps <= 64 * spare:
            return
        if eps > APPROXIMATE * np.abs(np.diagonal(m.F)).max():
            return  # no small number that stabilises
        found.append((eps, spare))
    if len(found) >= 2 and np.ptp([eps for eps, _ in found]) <= max(spare for _, spare in found):
        eps = found[0][0]
        yield Fit(
            "stabiliser_in_denominator",
            f"The slope of the inverse is 1 / (slope of forward + {eps:.3g}): a stabiliser, added "
            "to what is divided by or to the argument of a logarithm.",
            f"J_inverse^-1 - J_forward is diagonal with the entry {eps:.6g} in {len(found)} of "
            f"{len(found)} cases",
        )


@hypothesis("inverse_wrong_in_part", rank=SYMPTOM - 4, when=("inverse_undoes_forward",))
def wrong_in_part(evidence: Evidence) -> Iterator[Fit]:
    """The same entries come back wrong for all data and parameters, and the others right."""
    event = evidence.base.event
    cases = [case for case in evidence.spread if case.event == event]
    worst = np.zeros(event)
    for case in cases:
        trial = evidence.trial(case)
        z, _ = call(copy_layer(trial.layer), trial.x.clone())
        xh, _ = call_inverse(copy_layer(trial.layer), z)
        if xh.shape != trial.x.shape or not bool(torch.isfinite(xh).all()):
            return
        off = (xh - trial.x).double().abs() / trial.x.abs().max()
        worst = np.maximum(worst, off.amax(0).numpy())
    wrong = worst > APPROXIMATE**5
    count = int(wrong.sum())
    if 0 < count < wrong.size and (worst[~wrong] <= evidence.unit).all():
        listed = len(event) == 1 and count <= 8
        which = f" ({', '.join(map(str, np.flatnonzero(wrong)))})" if listed else ""
        yield Fit(
            "inverse_wrong_in_part",
            f"The inverse is wrong in {count} of {wrong.size} entries{which}, always the same, "
            "and right in the others.",
            f"so in {len(cases)} of {len(cases)} batches",
        )
