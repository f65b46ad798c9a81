"""Causes that show on wide data, outside the layer's domain, or in part of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from emcheck._internal.copying import copy_layer
from emcheck.bounds import APPROXIMATE
from emcheck.checks.calling import call, call_inverse
from emcheck.checks.trial import Trial
from emcheck.diagnosis.causes.logdet_factors import WRONG
from emcheck.diagnosis.consequences import ANY, FORWARD, INVERSE, LOGDET_OF_ROWS, UNDONE
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.rank import MECHANISM, SEEN, Fit, hypothesis
from emcheck.oracle.precision import Array
from emcheck.result import Ending


@hypothesis("outside_domain", rank=SEEN - 6, when=(*UNDONE, *WRONG), explains=ANY)
def outside_domain(evidence: Evidence) -> Iterator[Fit]:
    """Ordinary data lie outside the layer's domain: forward is not finite at initial parameters."""
    trial = evidence.trial(replace(evidence.base, style="initial", batch=64))
    if not evidence.subject.anywhere or trial.case.scale != "unit":
        return
    z, _ = call(trial.layer, trial.x)
    bad = ~z.isfinite()
    if not bool(bad.any()) or bool(bad.all()):
        return
    told = ""
    if z.shape == trial.x.shape:
        inside = trial.x[~bad]
        told = f"; where it is finite x lies between {inside.min():.3g} and {inside.max():.3g}"
    yield Fit(
        "outside_domain",
        "Normal numbers lie outside the domain of the layer, where forward is not finite: give "
        "`sample=`, a function that draws data inside it.",
        f"{int(bad.sum())} of {z.numel()} entries of forward are NaN or infinite at initial "
        f"parameters{told}",
    )


@hypothesis("leaves_range", rank=SEEN + 8, when=(*UNDONE, *WRONG), explains=LOGDET_OF_ROWS)
def leaves_range(evidence: Evidence) -> Iterator[Fit]:
    """An intermediate value leaves the range of float32; float64 gives an ordinary number."""
    for finding in evidence.findings:
        if finding.case.dtype != torch.float32 or not evidence.subject.doubles:
            continue
        trial = evidence.trial(finding.case)
        for what, a, b in _in_both_ranges(trial):
            largest = torch.finfo(torch.float32).max / 2
            lost = ~a.isfinite() & b.isfinite() & (b.abs() < largest)
            if not bool(lost.any()):
                continue
            where = "wide data" if finding.case.wide else "these data"
            kind = "overflows or underflows" if what == "the log-det" else "overflows"
            yield Fit(
                "leaves_range",
                f"An intermediate value of {what} {kind} in float32 for {where}: the result is "
                f"{float(a[lost][0]):g} where it is an ordinary number (an exponential or a "
                "product before its logarithm, 1 - p that rounds to 0).",
                f"float32 gives {float(a[lost][0]):g}, the same layer in float64 "
                f"{float(b[lost][0]):.6g}, in {int(lost.sum())} of {lost.numel()} numbers",
                LOGDET_OF_ROWS | (frozenset() if what == "the log-det" else FORWARD | INVERSE),
            )
            return


def _in_both_ranges(trial: Trial) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield forward, its log-det and the inverse, each in float32 and in float64."""
    narrow, wide = call(copy_layer(trial.layer), trial.x), trial.reference(trial.x)
    yield from zip(("forward", "the log-det"), narrow, wide, strict=True)
    if trial.has("inverse"):
        z = trial.reference(trial.preimage)[0]
        xh = call_inverse(copy_layer(trial.layer), z.float())[0]
        yield "the inverse", xh, call_inverse(copy_layer(trial.layer64), z)[0]


#: The share of wrong entries, of data of width 1, above which no region is to blame.
_MOSTLY = 0.75


@hypothesis("wrong_in_a_region", rank=MECHANISM + 5, when=UNDONE, explains=INVERSE)
def wrong_in_a_region(evidence: Evidence) -> Iterator[Fit]:
    """The inverse is wrong only for latents in one or a few intervals."""
    known = _entries(evidence)
    if known is None:
        return
    wrong, values, channels, ordinary = known
    right = ~wrong
    if wrong.sum() < 4 or right.sum() < max(4, 0.3 * len(wrong)):
        return  # without enough right entries no region stands out
    for name, v in (("|z|", np.abs(values)), ("z", values)):
        groups = [np.ones_like(wrong)], [channels == c for c in np.unique(channels[wrong])]
        if not any(
            all(_few_intervals(v[g], wrong[g], ordinary[g]) for g in some) for some in groups
        ):
            continue
        low, high = v[wrong].min(), v[wrong].max()
        below, above = right & (v < low), right & (v > high)
        between = right & (v >= low) & (v <= high)
        if below.any() or above.any() or between.any():
            end = f"between {low:.4g} and {high:.4g}" if above.any() else f"from {low:.4g} on"
            inside = right & (v >= low) & (v <= high)
            end += ", in some intervals" if inside.any() else ""
            yield Fit(
                "wrong_in_a_region",
                f"The inverse is wrong only where {name} is {end}, and right everywhere else: "
                "between two pieces, at an edge or knot, it takes the wrong one.",
                f"{int(wrong.sum())} of {len(wrong)} entries are wrong, all of them there; "
                f"{int(right.sum())} elsewhere are right",
            )
            return


def _few_intervals(v: Array, wrong: Array, ordinary: Array) -> bool:
    """Whether the wrong entries form a few intervals that contain no right entry.

    Where few entries of ordinary data are right, it is not an edge that is wrong: the half of a
    coupling that is moved, a spline inside of its tails.
    """
    if wrong[ordinary].mean() > _MOSTLY:
        return False
    ordered = wrong[np.argsort(v)]
    runs = int(np.diff(ordered.astype(int), prepend=0).clip(min=0).sum())
    return runs <= max(1, min(6, int(wrong.sum()) // 4))


def _entries(evidence: Evidence) -> tuple[Array, Array, Array, Array] | None:
    """Return for each entry: whether it is wrong, its latent, its channel, whether of width 1.

    None where errors of all sizes occur, as of an iteration that stops: they have no edge.
    """
    wrong, values, channels, ordinary = [], [], [], []
    for scale in ("unit", "wide4"):
        trial = evidence.trial(replace(evidence.base, batch=24, scale=scale))
        x = trial.x
        z, _ = call(copy_layer(trial.layer), x)
        xh, _ = call_inverse(copy_layer(trial.layer), z)
        if z.shape != x.shape or not bool(z.isfinite().all()):
            return None
        off = (xh - x).abs() / (1 + x.abs())
        few = int((off > APPROXIMATE**4).sum()) // 8
        if int(((off > APPROXIMATE**8) & (off <= APPROXIMATE**4)).sum()) > few:
            return None
        wrong.append((off > APPROXIMATE**4).reshape(-1).numpy())
        values.append(z.reshape(-1).double().numpy())
        channels.append(np.indices(tuple(z.shape))[1].reshape(-1))
        ordinary.append(np.full(z.numel(), scale == "unit"))
    parts = (np.concatenate(part) for part in (wrong, values, channels, ordinary))
    return tuple(parts)  # type: ignore[return-value]


@hypothesis("off_by_a_turn", rank=SEEN - 1, when=UNDONE, explains=ANY)
def off_by_a_turn(evidence: Evidence) -> Iterator[Fit]:
    """The round trip, where it is wrong, is off by multiples of one number: a full turn."""
    moved = []
    for case in evidence.spread[:4]:
        if case.event != evidence.base.event:
            continue
        trial = evidence.trial(replace(case, batch=16))
        z, _ = call(copy_layer(trial.layer), trial.x)
        xh, _ = call_inverse(copy_layer(trial.layer), z)
        if xh.shape != trial.x.shape:
            return
        moved.append((xh - trial.x).double().flatten(1).numpy())
    each = np.concatenate(moved)
    off = each.reshape(-1)
    rounding = 2.0**-40 * (1 + np.abs(off).max())
    wrong = np.abs(off) > rounding
    always = (np.abs(each) > rounding).all(axis=0)
    if wrong.sum() < 4 or wrong.all() or always.any():
        return
    turn = float(np.abs(off[wrong]).min())
    turns = off[wrong] / turn
    if np.abs(turns - np.rint(turns)).max() > 2.0**-30:
        return
    yield Fit(
        "off_by_a_turn",
        f"The round trip is off by exactly {turn:.6g} (one turn, or a multiple) where it is "
        "wrong: a value is wrapped into its period from one side only (`fmod` keeps the sign, "
        "`%` does not).",
        f"{int(wrong.sum())} of {len(off)} entries are off by {turn:.9g} times a whole number, "
        "the others are right",
    )


@hypothesis("nan_gradient", rank=SEEN - 2, when=("gradient_of_latent", "gradient_of_logdet"),
            explains=frozenset({"gradient_of_latent", "gradient_of_logdet", "no_dead_parameter"}),
            )  # fmt: skip
def nan_gradient(evidence: Evidence) -> Iterator[Fit]:
    """A gradient is NaN where differences give a number."""
    for finding in evidence.findings:
        result = finding.result
        if finding.check.startswith("gradient_of_") and np.isnan(result.got):
            if not np.isfinite(result.expected):
                continue
            where = " on wide data" if finding.case.wide else ""
            yield Fit(
                "nan_gradient",
                f"The gradient is NaN{where} where the output is finite and has a slope: the "
                "branch that `torch.where` does not choose is NaN or infinite, and 0 times that "
                "is NaN.",
                f"{finding.check}: autograd gives NaN, differences {result.expected:.6g}",
            )
            return


@hypothesis("does_not_end", rank=SEEN - 8, when=ANY, explains=ANY, ends_search=True)
def does_not_end(evidence: Evidence) -> Iterator[Fit]:
    """A call does not end within its time limit."""
    late = [
        found
        for found in evidence.findings
        if (found.result.unfinished and found.result.ending.is_late)
        or "did not return within" in found.result.detail
    ]
    if not late:
        return
    first = late[0].result
    backwards = first.ending is Ending.INVERSE_LATE or first.detail.startswith("inverse")
    direction = "The inverse" if backwards else "A call"
    yield Fit(
        "does_not_end",
        f"{direction} does not end for some parameters or data: an iteration that does not "
        "converge, or a loop without a limit.",
        f"{first.check} at {first.case}: {first.detail}",
    )
