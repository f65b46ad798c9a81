"""Layers that are right only for some sizes, channel counts or options."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

from emcheck.contract import Event
from emcheck.diagnosis.consequences import FORWARD, INVERSE, LOGDET
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.evidence.sizes import SizeVerdict, verdict_at
from emcheck.diagnosis.rank import WHERE, Fit, hypothesis

#: Slug, description, and whether the layer is right at an event; the simplest first.
_Rule = tuple[str, str, Callable[[Event], bool]]

_WRONG = (
    "inverse_undoes_forward", "forward_undoes_inverse", "forward_matches_definition",
    "inverse_backward_error", "degenerate_sizes", "logdet_matches_jacobian",
    "inverse_logdet_matches_jacobian", "logdet_matches_definition", "logdets_cancel",
    "nothing_goes_stale", "jacobian_matches_definition", "logdet_scales_with_pixels",
)  # fmt: skip
_ALL = FORWARD | INVERSE | LOGDET


def _rules(step: int) -> Iterator[_Rule]:
    def unit(event: Event) -> list[int]:
        return [size // step for size in event[1:]]

    yield "square_only", "square images only", lambda e: len(set(e[1:])) == 1
    yield "single_row", "images of more than one row and one column", lambda e: 1 not in unit(e)
    yield (
        "single_row",
        "images of more than one row and one column, and one pixel",
        lambda e: 1 not in unit(e) or max(unit(e)) == 1,
    )
    yield "right_only_for_odd_width", "odd W only", lambda e: unit(e)[-1] % 2 == 1
    yield "right_only_for_even_width", "even W only", lambda e: unit(e)[-1] % 2 == 0
    # A half spectrum of width 1 or 2 has no inner column.
    yield (
        "right_only_for_even_width",
        "even W (and W = 1) only",
        lambda e: unit(e)[-1] % 2 == 0 or unit(e)[-1] == 1,
    )
    yield "right_only_for_odd_height", "odd H only", lambda e: unit(e)[0] % 2 == 1
    yield "right_only_for_even_height", "even H only", lambda e: unit(e)[0] % 2 == 0
    yield "odd_sizes_only", "odd sizes only", lambda e: all(s % 2 for s in unit(e))
    yield "even_sizes_only", "even sizes only", lambda e: not any(s % 2 for s in unit(e))
    for least in range(2, 6):
        yield (
            "small_images",
            f"images of at least {least} rows and columns: smaller than the kernel is wrong",
            lambda e, least=least: min(unit(e)) >= least,  # type: ignore[misc]
        )
    yield "one_pixel_only", "one pixel only", lambda e: math.prod(unit(e)) == 1


@hypothesis(
    *("square_only", "single_row", "right_only_for_odd_width", "right_only_for_even_width"),
    *("right_only_for_odd_height", "right_only_for_even_height", "odd_sizes_only"),
    *("even_sizes_only", "small_images", "one_pixel_only"),
    rank=WHERE,
    when=_WRONG,
    explains=_ALL,
)
def right_only_for_sizes(evidence: Evidence) -> Iterator[Fit]:
    """The layer is right only for some image sizes, such as square images or an odd width."""
    verdicts = evidence.sizes
    right = [v for v in verdicts if not v.wrong]
    wrong = [v for v in verdicts if v.wrong]
    if len(right) < 1 or len(wrong) < 2:
        return
    for slug, told, rule in _rules(evidence.subject.multiple(evidence.base)):
        if all(rule(v.case.event) == (not v.wrong) for v in verdicts):
            yield Fit(slug, f"The layer is right for {told}.", _numbers(right, wrong))
            return


def _numbers(right: list[SizeVerdict], wrong: list[SizeVerdict]) -> str:
    def listed(found: list[SizeVerdict]) -> str:
        shown = ", ".join("x".join(map(str, v.case.event[1:])) for v in found[:5])
        return shown + (", ..." if len(found) > 5 else "")

    told = f"right at {listed(right)} only" if len(right) < 6 else f"right at {listed(right)}"
    return f"{told}, wrong at {len(wrong)} other sizes ({listed(wrong)}): {wrong[0].wrong[0]}"


@hypothesis("one_channel_only", rank=WHERE + 2, when=_WRONG, explains=_ALL)
def right_only_for_one_channel(evidence: Evidence) -> Iterator[Fit]:
    """The layer is right for C = 1 and wrong for every other channel count tried."""
    base = evidence.base
    if not evidence.subject.any_channels or evidence.subject.fewest_channels(base) > 1:
        return
    verdicts = {}
    for C in (1, 2, 3, 4):
        for seed in (base.seed, base.seed + 1):
            case = replace(base, event=(C, *base.event[1:]), seed=seed, batch=2)
            verdicts[C, seed] = verdict_at(evidence, case)
    known = {key: v for key, v in verdicts.items() if v is not None}
    if len(known) == 8 and all(bool(v.wrong) == (C > 1) for (C, _), v in known.items()):
        yield Fit(
            "one_channel_only",
            "The layer is right for one channel only.",
            "right with C = 1, wrong with C = 2, 3 and 4, two draws each",
        )


@hypothesis("right_only_for_option", rank=WHERE + 1, when=_WRONG, explains=_ALL)
def right_only_for_an_option(evidence: Evidence) -> Iterator[Fit]:
    """The layer is right for exactly one value of a constructor option."""
    spec, base = evidence.subject.spec, evidence.base
    if spec is None:
        return
    for name, values in spec.options.items():
        if name not in base.options:
            continue
        verdicts = {}
        for value in values:
            case = replace(base, options={**base.options, name: value}, batch=2)
            verdicts[value] = verdict_at(evidence, case)
        known = {value: v for value, v in verdicts.items() if v is not None}
        right = [value for value, v in known.items() if not v.wrong]
        if len(right) == 1 and len(known) > 1 and right[0] != base.options[name]:
            bad = ", ".join(str(value) for value in known if value != right[0])
            yield Fit(
                "right_only_for_option",
                f"The layer is right for {name} = {right[0]} only.",
                f"right with {name} = {right[0]}, wrong with {bad} and everything else the same",
            )
