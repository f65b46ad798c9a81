"""Submodules whose log-det has the wrong factor, or whose inverse does not undo their forward."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations

import numpy as np
import torch
from torch import Tensor, nn

from emcheck._internal.copying import copy_layer
from emcheck.bounds import RECOGNISED
from emcheck.checks.calling import call, call_inverse
from emcheck.contract import Event
from emcheck.diagnosis.causes.logdet_factors import WRONG
from emcheck.diagnosis.causes.logdet_terms import wrong_directions
from emcheck.diagnosis.consequences import INVERSE, LOGDET, UNDONE
from emcheck.diagnosis.evidence.logdets import LogdetExample
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.rank import MECHANISM, WHERE, Fit, hypothesis


@hypothesis(
    "submodule_factor_wrong",
    "submodule_factors_exchanged",
    rank=MECHANISM + 3,
    when=WRONG,
    explains=LOGDET,
)
def wrong_factor(evidence: Evidence) -> Iterator[Fit]:
    """A submodule's log-det has a wrong size of the event as its factor, or two are exchanged."""
    told: list[str] = []
    slug, numbers = "", ""
    for examples, which in wrong_directions(evidence):
        found = _factors(examples)
        if found is None:
            return
        names, there, due = found
        slug = f"submodule_factor{'s_exchanged' if len(names) > 1 else '_wrong'}"
        parts = [f"{names[0]} has the factor {there} where {due} is due"]
        parts += [f"{name} {due} where {there} is due" for name in names[1:]]
        told.append(f"{'in' if told else 'In'} {which}, {', and '.join(parts)}")
        example = examples[0]
        numbers = (
            f"so in {len(examples)} of {len(examples)} batches; got {example.got[0]:.9g}, "
            f"expected {example.expected[0]:.9g}"
        )
    if told:
        yield Fit(slug, f"{'; '.join(told)}.", numbers)


def _factors(examples: Sequence[LogdetExample]) -> tuple[tuple[str, ...], str, str] | None:
    """Return the submodules' terms, the factor that is there and the one that is due."""
    known = set.intersection(*(set(e.terms) for e in examples))
    names = [n for n in examples[0].terms if n in known and "log-det of `" in n]
    tried: list[tuple[str, ...]] = [(name,) for name in names]
    tried += list(permutations(names, 2))
    for chosen in tried:
        for there, due in permutations(_sizes(examples[0].case.event), 2):
            if _fits(examples, chosen, there, due):
                return chosen, there, due
    return None


def _fits(examples: Sequence[LogdetExample], names: tuple[str, ...], there: str, due: str) -> bool:
    """Whether ``got`` is ``expected`` with that factor, in batches of several sizes."""
    quotients, telling = set(), 0
    for e in examples:
        sizes = _sizes(e.case.event)
        quotient = sizes[there] / sizes[due]
        quotients.add(quotient)
        changes = [quotient - 1, 1 / quotient - 1]
        predicted = e.expected + sum(
            change * e.terms[name] for name, change in zip(names, changes, strict=False)
        )
        if not e.fits(predicted):
            return False
        telling += bool((np.abs(predicted - e.expected) > 4 * e.bound).any())
    return telling >= 2 and len(quotients) >= 2


def _sizes(event: Event) -> Mapping[str, int]:
    """Return products of the event's sizes by name; none for vectors."""
    if len(event) != 3:
        return {}
    C, H, W = event
    return {"1": 1, "C": C, "H": H, "W": W, "H W": H * W, "C H": C * H, "C W": C * W}


@hypothesis("submodule_not_undone", rank=WHERE - 1, when=UNDONE, explains=INVERSE)
def not_undone(evidence: Evidence) -> Iterator[Fit]:
    """The inverse of some submodules does not undo their forward, while that of others does."""
    wrong: list[frozenset[str]] = []
    largest = 0.0
    for case in evidence.spread[:3]:
        trial = evidence.trial(case)
        off = _round_trips(trial.layer, trial.x)
        bad = {name for name, error in off.items() if not error <= RECOGNISED}
        bad = {name for name in bad if not any(other.startswith(f"{name}.") for other in bad)}
        around = {n for n in off if any(name.startswith(f"{n}.") for name in bad)}
        if not bad or not set(off) - bad - around:
            return
        wrong.append(frozenset(bad))
        largest = max(largest, *(off[name] for name in bad))
    if len(wrong) >= 2 and len(set(wrong)) == 1:
        names = " and ".join(f"`{name}`" for name in sorted(wrong[0]))
        yield Fit(
            "submodule_not_undone",
            f"The inverse of {names} does not undo its forward; other submodules are undone.",
            f"relative round trip error up to {largest:.3g} of the submodule alone, in "
            f"{len(wrong)} of {len(wrong)} cases",
        )


def _round_trips(layer: nn.Module, x: Tensor) -> dict[str, float]:
    """Return the relative round trip error of each submodule that both directions call.

    The input of its forward is what the layer gives it.
    """
    watched = copy_layer(layer)
    forward, backward = _Calls(watched, "forward"), _Calls(watched, "inverse")
    z, _ = call(watched, x.clone())
    call_inverse(watched, z)
    found: dict[str, float] = {}
    for name, (given, out) in forward.kept.items():
        if name not in backward.kept:
            continue
        module = copy_layer(layer).get_submodule(name)
        with torch.no_grad():
            back = _first(module.inverse(out.clone()))  # type: ignore[operator]
        if back is not None and back.shape == given.shape:
            size = float(given.abs().max())
            error = float((back - given).abs().max())
            found[name] = error / size if size and math.isfinite(error) else math.inf
    return found


class _Calls:
    """Keeps the first input and output of a method of each submodule, which must be a copy's."""

    def __init__(self, layer: nn.Module, method: str) -> None:
        self.kept: dict[str, tuple[Tensor, Tensor]] = {}
        for name, module in layer.named_modules():
            original = getattr(module, method, None)
            if name and callable(original) and callable(getattr(module, "inverse", None)):
                object.__setattr__(module, method, self._noting(name, original))

    def _noting(self, name: str, original: object) -> object:
        def noted(*args: object, **kwargs: object) -> object:
            answer = original(*args, **kwargs)  # type: ignore[operator]
            out = _first(answer)
            if len(args) == 1 and isinstance(args[0], Tensor) and not kwargs and out is not None:
                self.kept.setdefault(name, (args[0].detach().clone(), out.detach().clone()))
            return answer

        return noted


def _first(answer: object) -> Tensor | None:
    """Return the value of an answer ``value`` or ``(value, logdet)``."""
    value = answer[0] if isinstance(answer, tuple) and answer else answer
    return value if isinstance(value, Tensor) else None
