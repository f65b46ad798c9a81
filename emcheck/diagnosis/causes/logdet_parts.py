"""Log-dets that lack terms, ignore x, should be 0, or are right at initial parameters only."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations

import numpy as np

from emcheck.diagnosis.causes.logdet_factors import WRONG
from emcheck.diagnosis.causes.logdet_forms import all_fit, diagonal_in_time, samples_of
from emcheck.diagnosis.causes.logdet_terms import wrong_directions
from emcheck.diagnosis.consequences import LOGDET, UNDONE
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.evidence.terms import pixel_letters
from emcheck.diagnosis.rank import MECHANISM, SYMPTOM, WHERE, Fit, hypothesis
from emcheck.oracle.precision import Array


@hypothesis("entries_left_out", rank=MECHANISM - 1, when=WRONG, explains=LOGDET)
def entries_left_out(evidence: Evidence) -> Iterator[Fit]:
    """The log-det sums ``log|slope|`` over some entries only: all but the first, or half."""
    for examples, which in wrong_directions(evidence):
        turned = which != "forward"
        slopes: list[Array | None] = []
        samples: list[tuple[Array, float, float, float]] = []
        events: list[tuple[int, ...]] = []
        for e in examples:
            here = samples_of([e], inverse=turned)
            samples += here
            slopes += [diagonal_in_time(J, e.case.event) for J, _, _, _ in here]
            events += [e.case.event] * len(here)
        sized = zip(slopes, events, strict=True)
        if len(samples) < 3 or any(s is None or len(s) != math.prod(one) for s, one in sized):
            continue  # such as a layer that takes more numbers than its event has
        for number, (told, _) in enumerate(_parts(events[0])):
            parts = [list(_parts(event)) for event in events]
            if any(len(p) <= number or p[number][0] != told for p in parts):
                continue
            sums = [
                float(np.log(s[p[number][1]]).sum())
                for s, p in zip(slopes, parts, strict=True)
                if s is not None
            ]
            if all_fit(samples, sums):
                yield Fit(
                    "entries_left_out",
                    f"The log-det of {which} lacks the terms of some entries: {told}.",
                    f"the sum of log|slope| over all other entries equals got in {len(sums)} of "
                    f"{len(sums)} samples; got {samples[0][1]:.9g}, expected {samples[0][2]:.9g}",
                )
                return


def _parts(event: tuple[int, ...]) -> Iterator[tuple[str, Array]]:
    """Yield each part that may be left out, in words, and a mask of the entries that remain."""
    n, C = math.prod(event), event[0]
    index = np.arange(n)
    channel = index // (n // C)
    yield "the first entry is left out", index != 0
    yield "the last entry is left out", index != n - 1
    if C > 1:
        yield "the first channel is left out", channel != 0
        yield "the last channel is left out", channel != C - 1
        yield "the first half is left out", channel >= C // 2
        yield "the second half is left out", channel < C // 2
    for axis in range(1, len(event)):
        place = np.indices(event)[axis].reshape(-1)
        yield f"the first position along axis {axis + 1} is left out", place != 0
        yield f"the last position along axis {axis + 1} is left out", place != event[axis] - 1
    for one in range(1, n - 1) if n <= 16 else ():
        yield f"entry {one} is left out", index != one


@hypothesis("terms_missing", rank=MECHANISM + 3, when=WRONG, explains=LOGDET)
def terms_missing(evidence: Evidence) -> Iterator[Fit]:
    """The sum lacks the log-dets of two or three submodules."""
    for examples, which in wrong_directions(evidence):
        names = [n for n in examples[0].terms if "log-det of" in n]
        names = [n for n in names if all(n in e.terms for e in examples)][:8]
        for count in (2, 3):
            for chosen in combinations(names, count):
                missing = [np.sum([e.terms[n] for n in chosen], axis=0) for e in examples]
                pairs = list(zip(examples, missing, strict=True))
                telling = sum(bool(e.off.any()) for e in examples) >= 2
                if telling and all(e.fits(e.expected - t) for e, t in pairs):
                    told = " and ".join(chosen)
                    yield Fit(
                        "terms_missing",
                        f"In {which}, {count} terms of the sum are missing: {told}. They are "
                        "overwritten instead of added.",
                        f"got = expected - these terms in {len(examples)} of {len(examples)} "
                        f"batches; got {examples[0].got[0]:.9g}, expected "
                        f"{examples[0].expected[0]:.9g}",
                    )
                    return


@hypothesis("volume_is_kept", rank=MECHANISM - 4, when=WRONG, explains=LOGDET)
def volume_is_kept(evidence: Evidence) -> Iterator[Fit]:
    """The map preserves volume, whatever its parameters, but the returned log-det is not 0."""
    for examples, which in wrong_directions(evidence):
        kept = all((np.abs(e.expected) <= e.bound).all() for e in examples)
        if not kept or len(examples) < 3 or not all(e.off.any() for e in examples):
            continue
        term = next(
            (n for n in examples[0].terms if all(n in e.terms and e.fits(e.terms[n])
                                                 for e in examples)),
            "",
        )  # fmt: skip
        told = f": it returns {term}, which is no part of it" if term else ""
        yield Fit(
            "volume_is_kept",
            f"The map keeps volume, its Jacobian has determinant one whatever the parameters "
            f"(triangular with ones on the diagonal): the log-det of {which} must be 0{told}.",
            f"slogdet of the Jacobian is 0 in {len(examples)} of {len(examples)} batches; got "
            f"{examples[0].got[0]:.9g}",
        )
        return


@hypothesis("logdet_ignores_x", rank=SYMPTOM - 1, when=WRONG, explains=LOGDET)
def logdet_ignores_x(evidence: Evidence) -> Iterator[Fit]:
    """The log-det is the same for all samples of a batch, while that of the Jacobian varies."""
    for examples, which in wrong_directions(evidence):
        several = [e for e in examples if len(e.got) > 1 and np.isfinite(e.got).all()]
        still = all(np.ptp(e.got) <= e.bound.max() for e in several)
        moves = sum(np.ptp(e.expected) > 16 * e.bound.max() for e in several)
        if still and moves >= 2:
            worst = max(several, key=lambda e: float(np.ptp(e.expected)))
            rows = " and ".join(f"{value:.6g}" for value in worst.expected[:2])
            yield Fit(
                "logdet_ignores_x",
                f"The log-det of {which} is the same for every x, that of the Jacobian is not: "
                "the slope of a nonlinearity is left out.",
                f"got {worst.got[0]:.9g} for every sample of a batch, expected {rows}",
            )
            return


@hypothesis(
    "right_at_initial_parameters",
    rank=WHERE + 5,
    when=(*WRONG, *UNDONE),
    explains=frozenset((*WRONG, *UNDONE)),
)
def right_at_initial_parameters(evidence: Evidence) -> Iterator[Fit]:
    """The layer is right as built and after optimiser steps, wrong at randomly moved parameters."""
    from emcheck.checks.core import CHECKS, run_check
    from emcheck.result import Verdict

    named = [f for f in evidence.findings if f.check in (*WRONG, *UNDONE)]
    if not evidence.trial().has("free_parameters") or evidence.subject.is_defined:
        return
    for style in ("initial", "optimised"):
        for finding in named:
            case = finding.case.__class__(**{**vars(finding.case), "style": style})
            if run_check(CHECKS[finding.check], evidence.subject, case).verdict is not Verdict.PASS:
                return
    yield Fit(
        "right_at_initial_parameters",
        "Right as built and after steps of an optimiser, wrong at parameters moved at random: "
        "if they may not take any value, say `capabilities={'free_parameters': False}`.",
        f"{len(named)} findings pass at initial and at optimised parameters",
    )


@hypothesis("term_lacks_factor", rank=MECHANISM + 1, when=WRONG, explains=LOGDET)
def term_lacks_factor(evidence: Evidence) -> Iterator[Fit]:
    """The term of one parameter lacks a spatial size as a factor: H, W, D, L or a product."""
    for examples, which in wrong_directions(evidence):
        letters = pixel_letters(len(evidence.base.event))
        names = [n for n in examples[0].terms if all(n in e.terms for e in examples)]
        for name in [n for n in names if n.startswith("sum ") or n.startswith("log|")]:
            for letter in _SIZES:
                missing = [
                    e.terms[name]
                    * math.prod(e.case.event[1:])
                    * (1 - 1 / _size(letter, e.case.event))
                    for e in examples
                ]
                for sign in (1.0, -1.0):
                    told = [e.expected - sign * t for e, t in zip(examples, missing, strict=True)]
                    pairs = list(zip(examples, told, strict=True))
                    off = [bool((np.abs(t - e.expected) > 4 * e.bound).any()) for e, t in pairs]
                    if sum(off) >= 2 and all(e.fits(t) for e, t in pairs):
                        yield Fit(
                            "term_lacks_factor",
                            f"In the log-det of {which}, one term lacks the factor {letter}: the "
                            f"term is {letters} {name}.",
                            f"so in {len(pairs)} of {len(pairs)} batches; got "
                            f"{examples[0].got[0]:.9g}, expected {examples[0].expected[0]:.9g}",
                        )
                        return


#: Spatial sizes that a term may lack, as messages name them.
_SIZES = ("H W", "D, the depth", "D H W", "H", "W", "L")


def _size(letter: str, event: tuple[int, ...]) -> float:
    """Return the spatial size that a name stands for; 1 if the event has no such size."""
    space = event[1:]
    if letter in ("L", "D H W"):
        return float(math.prod(space))
    H, W = (space[-2], space[-1]) if len(space) > 1 else (1, 1)
    named = {"H": H, "W": W, "H W": H * W, "D, the depth": math.prod(space) / (H * W)}
    return float(named[letter])
