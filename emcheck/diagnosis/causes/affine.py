"""Inverses that undo the scale and the shift of an entry in a wrong way, or without context."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from emcheck._internal.copying import copy_layer
from emcheck.checks.calling import call, call_inverse
from emcheck.checks.case import Case
from emcheck.diagnosis.consequences import INVERSE, UNDONE
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.rank import MECHANISM, Fit, hypothesis

#: What an inverse of ``z = s x + t`` may compute instead of ``(z - t) / s``, and how to say it.
_WRONG: Mapping[str, tuple[str, Callable[[Tensor, Tensor, Tensor], Tensor]]] = {
    "z / s": ("forgets the shift", lambda z, s, t: z / s),
    "(z + t) / s": ("adds the shift instead of subtracting it", lambda z, s, t: (z + t) / s),
    "z / s - t": ("divides by the scale before it shifts", lambda z, s, t: z / s - t),
    "z / s + t": ("adds the shift after the division", lambda z, s, t: z / s + t),
    "z - t": ("forgets the scale", lambda z, s, t: z - t),
    "z": ("forgets the scale and the shift", lambda z, s, t: z),
    "s (z - t)": ("multiplies by the scale instead of dividing", lambda z, s, t: (z - t) * s),
    "s z - t": ("multiplies by the scale before it shifts", lambda z, s, t: z * s - t),
    "(z - t / s) / s": ("shifts before it scales", lambda z, s, t: (z - t / s) / s),
    "z / s^2 - t / s": ("divides by the scale twice", lambda z, s, t: (z / s - t) / s),
    "s z + t": ("applies forward again", lambda z, s, t: z * s + t),
}  # fmt: skip


@hypothesis("affine_not_undone", rank=MECHANISM - 1, when=UNDONE, explains=INVERSE)
def affine_not_undone(evidence: Evidence) -> Iterator[Fit]:
    """The entries that do not come back are ``z = s x + t``, and the inverse is another formula."""
    alike, count = set(_WRONG), 0
    for case in evidence.spread:
        fitting = _formulas(evidence, case)
        if fitting is not None:
            alike &= fitting
            count += 1
    if count >= 2 and alike:
        formula = next(name for name in _WRONG if name in alike)
        yield Fit(
            "affine_not_undone",
            f"The inverse {_WRONG[formula][0]}: where forward is z = s x + t, it computes "
            f"{formula} instead of (z - t) / s.",
            f"inverse(z) = {formula} in all entries that do not come back, in {count} of {count} "
            "batches",
        )


def _formulas(evidence: Evidence, case: Case) -> set[str] | None:
    """The formulas that give what the inverse returns where data do not come back.

    None where all come back; no formula where forward is not affine in these entries.
    """
    trial = evidence.trial(case)
    x = trial.x
    z = call(copy_layer(trial.layer), x.clone())[0]
    xh = call_inverse(copy_layer(trial.layer), z.clone())[0]
    if z.shape != x.shape or xh.shape != x.shape or not bool(torch.isfinite(xh).all()):
        return set()
    wrong = _apart(evidence, xh, x).any(0)
    if not bool(wrong.any()):
        return None

    def forward(moved: Tensor) -> Tensor:
        return call(copy_layer(trial.layer), torch.where(wrong, moved, x))[0]

    t = forward(torch.zeros_like(x))
    s = forward(torch.ones_like(x)) - t
    x, z, s, t, xh = (v[:, wrong] for v in (x, z, s, t, xh))
    if bool(_apart(evidence, s * x + t, z).any()) or not bool((s != 0).all()):
        return set()
    return {
        name
        for name, (_, formula) in _WRONG.items()
        if not bool(_apart(evidence, formula(z, s, t), xh).any())
    }


def _apart(evidence: Evidence, a: Tensor, b: Tensor) -> Tensor:
    return (a - b).abs() > evidence.unit * max(1.0, float(a.abs().max()), float(b.abs().max()))


@hypothesis("context_ignored", rank=MECHANISM - 2, when=UNDONE, explains=INVERSE)
def context_ignored(evidence: Evidence) -> Iterator[Fit]:
    """One direction does not depend on the context, and the other does."""
    tail = evidence.subject.tail
    if not tail:
        return
    used: list[set[bool]] = [set(), set()]
    for case in evidence.spread[:3]:
        trial = evidence.trial(replace(case, batch=3))
        other = trial.sample(71)
        z = call(copy_layer(trial.layer), trial.x.clone())[0]
        for way, (run, given) in enumerate(((call, trial.x), (call_inverse, z))):
            moved = torch.cat([given[:, :-tail], other[:, -tail:]], 1)
            out, there = (run(copy_layer(trial.layer), v)[0][:, :-tail] for v in (given, moved))
            used[way].add(not torch.equal(out, there))
    if used in ([{True}, {False}], [{False}, {True}]):
        ignores, uses = (
            ("the inverse", "forward") if True in used[0] else ("forward", "the inverse")
        )
        yield Fit(
            "context_ignored",
            f"{ignores.capitalize()} ignores the context, which {uses} uses.",
            f"another context changes no bit of {ignores} in 3 of 3 batches, and it changes {uses}",
        )
