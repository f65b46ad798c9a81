"""Outputs that are computed in another precision, approximated or clipped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from emcheck._internal.copying import copy_layer
from emcheck.bounds import APPROXIMATE
from emcheck.checks.calling import call, call_inverse
from emcheck.checks.trial import Trial
from emcheck.diagnosis.causes.logdet_factors import WRONG
from emcheck.diagnosis.causes.sensitivity import OF_FLOAT32, scatter
from emcheck.diagnosis.consequences import FORWARD, INVERSE, LOGDET, UNDONE
from emcheck.diagnosis.evidence.measured import OUTPUTS, Evidence
from emcheck.diagnosis.rank import SEEN, Fit, hypothesis
from emcheck.oracle.precision import Array


@hypothesis(
    "computed_in_float32",
    rank=SEEN + 5,
    when=(*UNDONE, *WRONG),
    explains=INVERSE | FORWARD | LOGDET | {"gradient_of_logdet"},
)
def in_single_precision(evidence: Evidence) -> Iterator[Fit]:
    """An output is computed in float32 even for float64 input."""
    narrow: dict[str, int] = dict.fromkeys(OUTPUTS, 0)
    for case in evidence.spread:
        trial = evidence.trial(case)
        x = trial.x
        z = call(copy_layer(trial.layer), trial.sample(3))[0]
        for name, value in evidence.outputs(copy_layer(trial.layer), x, z).items():
            if value.dtype != torch.float64:
                narrow[name] = -1
            if narrow[name] >= 0 and _is_narrow(value):
                narrow[name] += _telling(value)
            else:
                narrow[name] = -1
    told = [name for name, count in narrow.items() if count >= 4]
    # Inputs with few digits would pass whatever the layer does; the cases have many.
    if told:
        names = " and ".join(f"the {name}" for name in told)
        count = sum(narrow[name] for name in told)
        yield Fit(
            "computed_in_float32",
            f"{names.capitalize()} {'is' if len(told) == 1 else 'are'} computed in float32 "
            "whatever the dtype of the input.",
            f"{count} of {count} numbers that came back in float64 have no digits beyond float32",
        )


def _is_narrow(value: Tensor) -> bool:
    return bool((value.float().double() == value).all())


def _telling(value: Tensor) -> int:
    """Count distinct numbers with more than a few digits: 0, 1 or 0.5 prove nothing."""
    numbers = value.reshape(-1)
    numbers = numbers[numbers.bfloat16().double() != numbers]
    return len(set(numbers.tolist()))


@hypothesis(
    "clipped",
    rank=SEEN + 5,
    when=("map_is_affine", "inverse_undoes_forward", "forward_undoes_inverse",
          "forward_matches_definition", "logdet_matches_jacobian"),
    explains=FORWARD | INVERSE | LOGDET,
)  # fmt: skip
def clipped(evidence: Evidence) -> Iterator[Fit]:
    """An output is clipped: for large input many of its entries equal one fixed bound."""
    trial = evidence.trial()
    # For wide data and their images, a clipped layer returns its bounds many times.
    for name, run in (("forward", call), ("inverse", call_inverse)):
        if name == "inverse" and not trial.has("inverse"):
            continue
        outputs = []
        for factor in (16.0, 64.0):
            given = _given(trial, name, trial.sample(62, batch=8) * factor)
            value = run(copy_layer(trial.layer), given)[0].double().numpy().reshape(-1)
            outputs.append(value)
        ends = [side for side in (1.0, -1.0) if _is_clipped(trial, run, name, outputs, side)]
        if ends:
            low, top = float(outputs[1].min()), float(outputs[1].max())
            told = (
                f"to [{low:.6g}, {top:.6g}]"
                if len(ends) == 2
                else (f"at {top:.6g} from above" if ends == [1.0] else f"at {low:.6g} from below")
            )
            count = sum(_at_end(outputs[1], side) for side in ends)
            yield Fit(
                "clipped",
                f"{name.capitalize()} clips its output {told}, whatever the data: a fixed bound.",
                f"for data 16 and 64 times larger, {count} of {outputs[1].size} entries lie at "
                "the end and none is beyond",
                INVERSE if name == "inverse" else None,
            )


#: How much the bounds of entries may differ: a shift after a clip moves each of them.
CLIPPED_ALIKE = 0.05


def _given(trial: Trial, name: str, data: Tensor) -> Tensor:
    """Return the data, or their image for the inverse of a layer without a definition."""
    if name == "inverse" and not trial.subject.is_defined:
        return call(copy_layer(trial.layer), data)[0]
    return data


def _at_end(value: Array, side: float) -> int:
    """Count the entries near the largest (side 1) or the smallest (side -1) one."""
    return int(np.isclose(side * value, (side * value).max(), rtol=CLIPPED_ALIKE).sum())


Run = Callable[[nn.Module, Tensor], tuple[Tensor, Tensor]]


def _is_clipped(trial: Trial, run: Run, name: str, outputs: Sequence[Array], side: float) -> bool:
    """Whether many entries stop at one number, which the output reaches with a slope."""
    high, again = ((side * value).max() for value in outputs)
    if not np.isclose(high, again, rtol=CLIPPED_ALIKE, atol=0):
        return False
    many, more = (_at_end(value, side) for value in outputs)
    return many >= 3 and more >= many and _has_an_edge(trial, run, name, side)


def _has_an_edge(trial: Trial, run: Run, name: str, side: float) -> bool:
    """Whether the output rises steeply right up to its bound.

    A map that saturates, such as tanh or a sigmoid, flattens before it reaches its bound.
    """
    direction = trial.sample(62, batch=2)

    def largest(t: float) -> float:
        given = _given(trial, name, direction * t)
        return float((side * run(copy_layer(trial.layer), given)[0]).max())

    end, start = largest(64.0), largest(0.0)
    low, high = 0.0, 64.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if largest(middle) >= end - 2.0**-30 else (middle, high)
    if not high > 0:
        return False
    steep = (end - largest(0.9 * high)) / (0.1 * high)
    return steep > 0.1 * (end - start) / high > 0


@hypothesis("rounded_on_the_way", rank=SEEN + 6, when=UNDONE, explains=INVERSE | LOGDET)
def rounded_on_the_way(evidence: Evidence) -> Iterator[Fit]:
    """A value is rounded to float32 on the way: the float64 round trip errs as in float32.

    Rounding errors have both signs; errors of one sign come from an added constant.
    """
    if {f.case.dtype for f in evidence.findings if f.check in UNDONE} != {torch.float64}:
        return
    off, signs = [], []
    for case in evidence.spread[:3]:
        trial = evidence.trial(case)
        z, _ = call(copy_layer(trial.layer), trial.x)
        xh, _ = call_inverse(copy_layer(trial.layer), z)
        off.append(float((xh - trial.x).abs().max() / trial.x.abs().max()))
        signs.append((xh - trial.x).sign().flatten())
    up, down = (int((torch.cat(signs) == way).sum()) for way in (1, -1))
    if up + down >= 8 and min(up, down) < (up + down) / 8:
        return
    single = torch.finfo(torch.float32).eps
    condition = max(m.condition for m in evidence.maps)
    most = min(single * 4 * condition, APPROXIMATE)
    if all(single / 64 < value < most for value in off):
        passes = OF_FLOAT32[0] < scatter(evidence, torch.float64).get("the inverse", 1.0)
        yield Fit(
            "rounded_on_the_way",
            "The inverse passes through float32 on its way (`.float()` and back): float64 data "
            "come back with the digits of float32."
            if passes
            else "A tensor of the layer has the digits of float32 only, and what undoes it (its "
            "transpose, another copy of it) does so to float32: float64 data do not come back.",
            f"relative round trip errors {', '.join(f'{value:.2g}' for value in off)} in float64; "
            "float32 is right",
        )


@hypothesis("clipped_in_part", rank=SEEN + 6, when=UNDONE, explains=INVERSE)
def clipped_in_part(evidence: Evidence) -> Iterator[Fit]:
    """The inverse is clipped for some entries: its wrong values for wide data are one number."""
    found = []
    for factor in (16.0, 64.0):
        trial = evidence.trial(replace(evidence.base, batch=16))
        x = trial.sample(62) * factor
        xh = call_inverse(copy_layer(trial.layer), call(copy_layer(trial.layer), x)[0])[0]
        if xh.shape != x.shape:
            return
        wrong = (xh - x).abs() > 2.0**-10 * x.abs()
        if int(wrong.sum()) < 4 or bool(wrong.all()):
            return
        found.append(xh[wrong].abs())
    ends = torch.cat(found)
    top = float(ends.max())
    if top > 0 and float(ends.min()) >= (1 - CLIPPED_ALIKE) * top:
        yield Fit(
            "clipped_in_part",
            f"The inverse does not go beyond {top:.6g}: a fixed bracket, or a clip, for some of "
            "the entries; wider data come back as its end.",
            f"all {len(ends)} entries that do not come back, of data 16 and 64 times as wide, are "
            f"within {CLIPPED_ALIKE:.0%} of {top:.6g}",
        )
