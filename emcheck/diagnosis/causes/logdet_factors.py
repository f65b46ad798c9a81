"""Log-dets that are wrong by a factor: a sign, 2, or the number of pixels, channels or samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from emcheck._internal.copying import copy_layer
from emcheck.bounds import BOTH_SIDES
from emcheck.checks.calling import call, call_inverse
from emcheck.diagnosis.consequences import LOGDET, LOGDET_OF_ROWS
from emcheck.diagnosis.evidence.logdets import LogdetExample
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.evidence.terms import pixel_letters
from emcheck.diagnosis.rank import MECHANISM, Fit, hypothesis
from emcheck.oracle.precision import Array

#: (forward is wrong, inverse is wrong) -> the subject of the sentence.
SUBJECTS = {(True, True): "The log-det", (True, False): "The log-det of forward",
            (False, True): "The log-det of inverse"}  # fmt: skip


@dataclass(frozen=True)
class Factor:
    """A wrong factor: ``got = value(example) * expected``; ``told`` ends "The log-det ..."."""

    slug: str
    told: str
    formula: Callable[[float, float, float, float, float], float]
    sign: float = 1.0

    def value(self, example: LogdetExample) -> float:
        C, *space = example.case.event
        H, W = (space[-2], space[-1]) if len(space) > 1 else (1, 1)
        return self.sign * self.formula(C, math.prod(space), H, W, example.case.batch)


def _factors(rank: int) -> list[Factor]:
    """Return the factors to try, the simplest first; ``P`` is the number of pixels."""
    pixels = pixel_letters(rank)
    n = f"C {pixels}" if rank > 1 else "D"
    squeezed = ", as one of the wrong side of a squeeze by 2"
    squares = "instead of H W: right for square images only"
    return [
        Factor("sign_flipped", "has the wrong sign", lambda C, P, H, W, B: -1.0),
        Factor("factor_two_missing", "lacks the factor 2", lambda C, P, H, W, B: 0.5),
        Factor("factor_two_extra", "has a factor 2 too much", lambda C, P, H, W, B: 2.0),
        Factor(
            "factor_pixels_missing",
            f"lacks the factor {pixels}: it is that of one pixel",
            lambda C, P, H, W, B: 1 / P,
        ),
        Factor("factor_pixels_extra", f"has a factor {pixels} too much", lambda C, P, H, W, B: P),
        Factor("factor_height_missing", "lacks the factor H", lambda C, P, H, W, B: 1 / H),
        Factor("factor_width_missing", "lacks the factor W", lambda C, P, H, W, B: 1 / W),
        Factor("factor_height_extra", "has a factor H too much", lambda C, P, H, W, B: H),
        Factor(
            "factor_depth_missing",
            "lacks the factor D, the depth of the volume",
            lambda C, P, H, W, B: H * W / P,
        ),
        Factor("factor_width_extra", "has a factor W too much", lambda C, P, H, W, B: W),
        Factor("square_images_only", f"has the factor H H {squares}", lambda C, P, H, W, B: H / W),
        Factor("square_images_only", f"has the factor W W {squares}", lambda C, P, H, W, B: W / H),
        Factor("per_dimension", f"is divided by {n}", lambda C, P, H, W, B: 1 / (C * P)),
        Factor("factor_dimension_extra", f"has a factor {n} too much", lambda C, P, H, W, B: C * P),
        Factor("factor_channels_missing", "lacks the factor C", lambda C, P, H, W, B: 1 / C),
        Factor("factor_channels_extra", "has a factor C too much", lambda C, P, H, W, B: C),
        Factor("factor_of_squeeze_missing", f"lacks a factor 4{squeezed}", lambda *_: 0.25),
        Factor("factor_of_squeeze_extra", f"has a factor 4 too much{squeezed}", lambda *_: 4.0),
        Factor("factor_batch_missing", "is divided by the batch size", lambda C, P, H, W, B: 1 / B),
        Factor("factor_batch_extra", "has a factor B too much", lambda C, P, H, W, B: B),
        Factor(
            "logarithm_to_base_two",
            "is a logarithm to base 2 instead of e",
            lambda C, P, H, W, B: 1 / math.log(2),
        ),
        Factor(
            "logarithm_to_base_ten",
            "is a logarithm to base 10 instead of e",
            lambda C, P, H, W, B: 1 / math.log(10),
        ),
    ]


def _with_wrong_sign(factor: Factor) -> Factor:
    return replace(factor, told=f"{factor.told}, and its sign is wrong", sign=-1.0)


SLUGS = tuple(dict.fromkeys(factor.slug for factor in _factors(3)))

#: Checks that fail if a log-det is wrong.
WRONG = (
    "logdet_matches_jacobian",
    "inverse_logdet_matches_jacobian",
    "logdet_matches_definition",
    "logdets_cancel",
    "chain_adds_up",
    "density_integrates_to_one",
)


@hypothesis(*SLUGS, rank=MECHANISM, when=WRONG, explains=LOGDET | {"rows_are_independent"})
def wrong_factor(evidence: Evidence) -> Iterator[Fit]:
    """The log-det is off by a factor: ``got = f expected``, with ``f`` not 1 in two examples."""
    plain = _factors(len(evidence.base.event))
    fitting = [f for f in plain + [_with_wrong_sign(f) for f in plain[1:]] if _fits(evidence, f)]
    if fitting:
        factor = fitting[0]  # the simplest; others fit by chance and are mentioned
        wrong = _wrong(evidence, factor)
        examples = [e for found in wrong.values() for e in found]
        which = SUBJECTS[True in wrong, False in wrong]
        alike = "".join(f"; it also {other.told}: the same number here" for other in fitting[1:3])
        yield Fit(factor.slug, f"{which} {factor.told}.", _numbers(examples, factor) + alike)


def _fits(evidence: Evidence, factor: Factor) -> bool:
    """Whether every direction is right or off by this factor, and at least one is off by it."""
    fitting = _wrong(evidence, factor)
    directions = {True: evidence.logdets, False: evidence.inverse_logdets}
    return bool(fitting) and all(
        key in fitting or _right(examples) for key, examples in directions.items()
    )


def _wrong(evidence: Evidence, factor: Factor) -> dict[bool, Sequence[LogdetExample]]:
    """Return the examples of each direction (True for forward) that is off by this factor."""
    directions = {True: evidence.logdets, False: evidence.inverse_logdets}
    return {
        key: examples
        for key, examples in directions.items()
        if not _right(examples) and _fits_all(examples, factor)
    }


def _right(examples: Sequence[LogdetExample]) -> bool:
    return not any(e.off.any() for e in examples)


def _fits_all(examples: Sequence[LogdetExample], factor: Factor) -> bool:
    """Whether the factor fits all examples, and at least two distinguish it from 1."""
    telling = 0
    for example in examples:
        f = factor.value(example)
        if not example.fits(f * example.expected):
            return False
        moved = np.abs((f - 1) * example.expected)
        telling += bool((moved > BOTH_SIDES * example.bound * (1 + abs(f))).any())
    return telling >= 2


def _numbers(examples: Sequence[LogdetExample], factor: Factor) -> str:
    example = max(examples, key=lambda e: float(np.abs(e.got - e.expected).max()))
    n = int(np.argmax(np.abs(example.got - example.expected)))
    count = sum(len(e.got) for e in examples)
    sizes = len({e.case.event for e in examples})
    f = factor.value(example)
    return (
        f"got = {f:.6g} * expected in {count} of {count} samples ({sizes} sizes); "
        f"got {example.got[n]:.9g}, expected {example.expected[n]:.9g}"
    )


@hypothesis(
    "summed_over_batch",
    "averaged_over_batch",
    rank=MECHANISM - 1,
    when=(*WRONG, "rows_are_independent"),
    explains=LOGDET_OF_ROWS,
)
def summed(evidence: Evidence) -> Iterator[Fit]:
    """Every sample gets the sum or the mean of the log-dets of the batch."""
    for slug, reduce, told in (
        ("summed_over_batch", np.sum, "summed over the batch and given to every sample"),
        ("averaged_over_batch", np.mean, "averaged over the batch and given to every sample"),
    ):
        for examples, which in _directions(evidence):
            several = [e for e in examples if len(e.got) > 1]
            predicted = [np.full(len(e.got), reduce(e.expected)) for e in examples]
            fits = all(e.fits(p) for e, p in zip(examples, predicted, strict=True))
            if fits and sum(bool(e.off.any()) for e in several) >= 2:
                example = several[0]
                rows = " and ".join(f"{value:.6g}" for value in example.expected)
                yield Fit(
                    slug,
                    f"{which} is {told}.",
                    f"got {example.got[0]:.9g} for every sample, expected {rows}; "
                    f"so in {len(several)} of {len(several)} batches, and right for a batch of 1",
                )


@hypothesis(
    "broadcast_over_batch",
    rank=MECHANISM,
    when=(*WRONG, "rows_are_independent"),
    explains=LOGDET_OF_ROWS,
)
def broadcast(evidence: Evidence) -> Iterator[Fit]:
    """A ``(B, 1)`` tensor is added to a ``(B,)`` one, and the ``(B, B)`` result is then reduced."""
    for examples, which in _directions(evidence):
        alone = [e for e in examples if len(e.got) == 1]
        several = [e for e in examples if len(e.got) > 1 and e.off.all()]
        right = [e for e in examples if not e.off.any()]
        if len(several) < 2 or not alone or len(right) > len(alone):
            continue  # right for a batch of 1, wrong for any other
        if any(np.ptp(e.got) <= e.bound.max() for e in several):
            continue  # one number for all samples: ``summed`` handles that
        for reduced, share in (
            ("averaged", lambda e: 1.0),
            ("summed", lambda e: float(len(e.got))),
        ):
            gaps = [abs(e.got.mean() - share(e) * e.expected.mean()) for e in several]
            limits = [BOTH_SIDES * share(e) * e.bound.max() for e in several]
            if all(gap <= limit for gap, limit in zip(gaps, limits, strict=True)) and all(
                _moves_as_broadcast(
                    evidence, e, examples is evidence.inverse_logdets, reduced == "summed"
                )
                for e in several
            ):
                rows = " and ".join(f"{value:.6g}" for value in several[0].expected[:2])
                yield Fit(
                    "broadcast_over_batch",
                    f"{which} mixes the samples: a (B, 1) that is added to a (B,) gives (B, B), "
                    f"which is then {reduced} over the batch.",
                    f"right for a batch of 1, and on average over {len(several)} of "
                    f"{len(several)} batches; got {several[0].got[0]:.6g}, expected {rows}",
                )
                return


def _moves_as_broadcast(
    evidence: Evidence, example: LogdetExample, inverse: bool, summed: bool
) -> bool:
    """Whether another first sample moves all log-dets as in ``f (sum_i a_i / B + b_j)``.

    ``f`` is B where they are summed, else 1. The others move by one number ``f da / B``; its own by
    that and ``f db``, where ``da + db`` is how it moves alone.
    """
    B = max(4, len(example.got))  # for two, every sum over the batch that keeps the total fits
    trial = evidence.trial(replace(example.case, batch=B))
    function = call_inverse if inverse else call
    another = evidence.trial(replace(trial.case, seed=trial.case.seed + 1))
    given, other = (t.latent if inverse else t.x for t in (trial, another))
    changed = torch.cat([other[:1], given[1:]])

    def moved(rows: slice) -> Array:
        pair = (function(copy_layer(trial.layer), v[rows])[1] for v in (changed, given))
        after, before = (v.detach().double().numpy() for v in pair)
        return np.asarray(after - before)

    together, alone = moved(slice(None)), float(moved(slice(1))[0])
    others, f = float(together[1]), B if summed else 1
    limit = 4 * BOTH_SIDES * B * example.bound.max()
    own = others + f * (alone - others * B / f)
    return bool(np.ptp(together[1:]) <= limit and abs(together[0] - own) <= limit)


def _directions(evidence: Evidence) -> Iterator[tuple[Sequence[LogdetExample], str]]:
    for examples, key in (
        (evidence.logdets, (True, False)),
        (evidence.inverse_logdets, (False, True)),
    ):
        if any(e.off.any() for e in examples):
            yield examples, SUBJECTS[key]
