"""Log-dets that are wrong by a factor: a sign, 2, or the number of pixels, channels or samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from emcheck.bounds import BOTH_SIDES
from emcheck.diagnosis.consequences import LOGDET
from emcheck.diagnosis.evidence.logdets import LogdetExample
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.evidence.terms import pixel_letters
from emcheck.diagnosis.rank import MECHANISM, Fit, hypothesis

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


SLUGS = (*dict.fromkeys(factor.slug for factor in _factors(3)), "pixels_of_one_size")

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
    plain = _factors(len(evidence.base.event)) + _one_size(evidence)
    fitting = [f for f in plain + [_with_wrong_sign(f) for f in plain[1:]] if _fits(evidence, f)]
    if fitting:
        factor = fitting[0]  # the simplest; others fit by chance and are mentioned
        wrong = _wrong(evidence, factor)
        examples = [e for found in wrong.values() for e in found]
        which = SUBJECTS[True in wrong, False in wrong]
        only = _only_size(examples, factor)
        alike = "".join(f"; it also {other.told}: the same number here" for other in fitting[1:3])
        yield Fit(factor.slug, f"{which} {factor.told}{only}.", _numbers(examples, factor) + alike)


def _only_size(examples: Sequence[LogdetExample], factor: Factor) -> str:
    """What else may be meant if one size of images could be tried and a whole number fits."""
    one, *others = {e.case.event for e in examples}
    n = factor.value(examples[0]) * math.prod(one[1:])
    if others or len(one) < 3 or n < 1 or abs(n - round(n)) > 2.0**-20:
        return ""
    return f", or counts {round(n)} pixels, those of another size: only one size could be tried"


def _one_size(evidence: Evidence) -> list[Factor]:
    """The factor ``n / P`` for the whole number n that an example tells, if sizes differ."""
    examples = [*evidence.logdets, *evidence.inverse_logdets]
    off = [e for e in examples if e.off.any() and np.isfinite(e.got).all()]
    if len({math.prod(e.case.event[1:]) for e in examples}) < 2 or not off:
        return []
    worst = max(off, key=lambda e: float(np.abs(e.expected).max()))
    at = int(np.abs(worst.expected).argmax())
    P, expected = math.prod(worst.case.event[1:]), float(worst.expected[at])
    n = round(abs(P * float(worst.got[at]) / expected)) if expected else 0
    if n < 2:
        return []
    places = "pixels" if len(evidence.base.event) > 2 else "places"
    told = f"counts {n} {places} whatever the size of the event: it is right for one size only"
    return [Factor("pixels_of_one_size", told, lambda C, P, H, W, B: n / P)]


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
