"""What a layer does when it is first called: how it starts, in which mode, what it answers."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from emcheck.bounds import COUPLED, MOST_EXPLICIT
from emcheck.checks import Case, Subject
from emcheck.checks.calling import call, call_inverse, inverse_of, is_per_sample, with_logdet
from emcheck.checks.capabilities import missing
from emcheck.checks.core import identical
from emcheck.checks.limit import TimeLimit, time_limit
from emcheck.checks.trial import Trial
from emcheck.kit.starting import started
from emcheck.layer import Event
from emcheck.messages import one_line

#: Dimensions up to which every check runs at the given size; above, at a smaller one.
SMALL = 320

#: Samples in a batch that shows whether rows depend on each other.
_ROWS = 4


@dataclass(frozen=True)
class Discovery:
    """What the checks are run on.

    Args:
        subject: with what was found: started, in the mode that suits it, what it lacks.
        loud: the subject in the mode as given.
        loud_in: check -> why, for the checks that judge the mode as given.
        event: the size of most checks: the given one, or a smaller one.
        neighbours: other sizes that the layer accepts.
        cut: other sizes at which forward returns fewer numbers than it was given.
        refused: sizes that it does not accept, and why.
        silent: (direction, dtype) that does not answer, and why; empty if all do.
        notes: for the report.
    """

    subject: Subject
    loud: Subject
    event: Event
    loud_in: Mapping[str, str] = field(default_factory=dict)
    neighbours: tuple[Event, ...] = ()
    cut: tuple[Event, ...] = ()
    refused: tuple[tuple[Event, str], ...] = ()
    silent: Mapping[tuple[str, torch.dtype], str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def discover(
    subject: Subject, event: Event, dtypes: Sequence[torch.dtype], seed: int, seconds: float
) -> Discovery:
    """Call the layer a few times and see.

    Raises:
        ValueError: ``forward`` refuses the event in every dtype.
    """
    subject, notes = started(subject, Case(event, 8, seed=seed), seconds)
    told = {
        one: _forward_answer(subject, Case(event, 3, one, seed=seed), seconds) for one in dtypes
    }
    silent = {("forward", one): text for one, text in told.items() if text}
    if len(silent) == len(dtypes):
        text = told[dtypes[0]]
        if text.startswith(_NO_PAIR) or not text.startswith(_RAISED):
            return Discovery(subject, subject, event, silent=silent, notes=notes)
        raise ValueError(
            f"expected a shape that {subject.name} accepts, got {event}: "
            f"{text.removeprefix(_RAISED)}"
        )
    dtype = next(one for one in dtypes if not told[one])
    asked = torch.float64 in dtypes
    if told.get(torch.float64) or (not asked and _no_double(subject, event, seed)):
        subject = replace(subject, doubles=False)
    case = Case(event, 3, dtype, "cpu", "initial", "unit", seed)
    found = Discovery(subject, subject, event, silent=silent, notes=notes)
    found = _modes(found, replace(case, batch=_ROWS, style="trained"), seconds)
    subject = _offers(found.subject, case, seconds)
    found = replace(found, subject=subject, loud=replace(found.loud, lacks=subject.lacks))
    for one in dtypes:
        if ("forward", one) not in silent:
            text = _inverse_answer(subject, replace(case, dtype=one), seconds)
            silent |= {("inverse", one): text} if text else {}
    found = replace(found, silent=silent)
    if all(any((direction, one) in silent for direction in _DIRECTIONS) for one in dtypes):
        return found
    small, about_size = _smaller(subject, replace(case, batch=1), seconds)
    at_small = replace(case, event=small, batch=1)
    neighbours, cut, refused = _neighbours(subject, at_small, seconds)
    sizes = {"event": small, "neighbours": neighbours, "cut": cut, "refused": refused}
    return replace(found, notes=(*found.notes, *about_size), **sizes)  # type: ignore[arg-type]


_DIRECTIONS = ("forward", "inverse")

#: How a refusal of forward begins: an exception, and one that says that no pair came back.
_RAISED, _NO_PAIR = "forward raised ", "forward raised ValueError: forward: expected"


def _attempt(run: Callable[[], Any], seconds: float) -> tuple[Any, str]:
    """The answer, or None and why there is none in one line."""
    try:
        with warnings.catch_warnings(), time_limit(seconds):
            warnings.simplefilter("ignore")
            return run(), ""
    except TimeLimit:
        return None, f"did not return within {seconds:g} s"
    except Exception as error:  # a layer may raise anything, and that is the answer
        return None, f"raised {type(error).__name__}: {one_line(error)}"


def _forward_answer(subject: Subject, case: Case, seconds: float) -> str:
    """Why forward does not answer at initial parameters, empty if it does."""
    case = replace(case, style="initial")

    def run() -> None:
        trial = Trial(subject, case)
        call(trial.layer, trial.x)

    told = _attempt(run, seconds)[1]
    return f"forward {told}" if told else ""


def _no_double(subject: Subject, event: Event, seed: int) -> bool:
    """Whether forward does not answer in float64, where nobody asked for float64."""
    return bool(_forward_answer(subject, Case(event, 3, torch.float64, seed=seed), 10.0))


def _offers(subject: Subject, case: Case, seconds: float) -> Subject:
    """The subject with what shows in two calls to be missing: an inverse, its log-det, its graph.

    What this project's layers lack is a fault.
    """
    if subject.own or "inverse" in subject.lacks:
        return _forms(subject, case, seconds)
    lacks = dict(subject.lacks)
    answers = [_answer_of_inverse(subject, replace(case, seed=case.seed + n)) for n in (0, 1)]
    if all(isinstance(answer, NotImplementedError) for answer in answers):
        told = f"inverse is not implemented: {one_line(answers[0])}"  # type: ignore[arg-type]
        lacks |= dict.fromkeys(missing({"inverse": False}), told)
    elif all(isinstance(answer, tuple) and answer[1] is None for answer in answers):
        lacks.setdefault("inverse_logdet", "inverse returns x alone, without a log-det")
    if "inverse" not in lacks and "inverse_gradient" not in lacks:
        told = _attempt(lambda: _graph_of_inverse(subject, case), seconds)[0]
        if told:
            lacks["inverse_gradient"] = told
    if "transforms" not in lacks and _attempt(lambda: _reassigns(subject, case), seconds)[0]:
        lacks["transforms"] = "a call assigns new memory to a parameter (`.data =`)"
    return _forms(replace(subject, lacks=lacks), case, seconds)


def _answer_of_inverse(subject: Subject, case: Case) -> Any:
    """What the inverse returns as it is, or the exception that it raises."""
    trial = Trial(subject, case)
    try:
        with warnings.catch_warnings(), torch.no_grad(), time_limit(10.0):
            warnings.simplefilter("ignore")
            return with_logdet(trial.layer.inverse(trial.latent))  # type: ignore[operator]
    except TimeLimit:
        return None
    except Exception as error:  # a layer may raise anything, and that is the answer
        return error


def _graph_of_inverse(subject: Subject, case: Case) -> str:
    """Why no gradient flows from x back to z, empty if one does."""
    wide = torch.float64 if subject.doubles else case.dtype
    trial = Trial(subject, replace(case, style="trained", dtype=wide))
    z = trial.latent.detach().clone().requires_grad_(True)
    told = "no gradient flows from x back to z (computed under no_grad, in NumPy or in place)"
    try:
        with torch.enable_grad():
            x = inverse_of(trial.layer, z.clone())[0]
            if not x.requires_grad:
                return told
            (gradient,) = torch.autograd.grad(x.sum(), z, allow_unused=True)
    except RuntimeError as error:
        plain = _attempt(lambda: call_inverse(trial.new_layer(), trial.latent), 10.0)[1]
        return "" if plain else f"inverse answers only without gradients: {one_line(error)}"
    return told if gradient is None else ""


def _reassigns(subject: Subject, case: Case) -> bool:
    """Whether a call gives a parameter or buffer other memory (``.data =``)."""
    trial = Trial(subject, case)
    layer = trial.layer
    places = {name: tensor.data_ptr() for name, tensor in layer.named_parameters()}
    call(layer, trial.x)
    return any(p.data_ptr() != places.get(n) for n, p in layer.named_parameters())


def _forms(subject: Subject, case: Case, seconds: float) -> Subject:
    """The subject, its log-dets not judged where their shape is no log-det's."""

    def run() -> Subject:
        trial = Trial(subject, case)
        with torch.no_grad():
            z, logdet = trial.layer(trial.x.clone())
        kept = isinstance(z, Tensor) and z.numel() == trial.x.numel()
        found = replace(subject, keeps_entries=kept)
        if is_per_sample(logdet, len(trial.x)):
            return found
        told = f"the log-det has shape {tuple(logdet.shape)}, see shapes_and_dtypes"
        names = ("exact_logdet", "inverse_logdet")
        return replace(found, broken={**subject.broken, **dict.fromkeys(names, told)})

    found: Subject | None = _attempt(run, seconds)[0]
    return found or subject


def _inverse_answer(subject: Subject, case: Case, seconds: float) -> str:
    """Why the inverse never answers, from two draws; empty if it does or there is none."""
    if "inverse" in subject.lacks:
        return ""
    told = ""
    for number in range(2):
        told = _one_inverse(subject, replace(case, seed=case.seed + number), seconds)
        if not told:
            break
    return told


def _one_inverse(subject: Subject, case: Case, seconds: float) -> str:
    def run() -> None:
        trial = Trial(subject, case)
        # On a layer that forward was never called on: an inverse must not need that.
        call_inverse(trial.layer, trial.latent)

    told = _attempt(run, seconds)[1]
    return f"inverse {told}" if told else ""


def _answers(subject: Subject, case: Case, seconds: float) -> str:
    """Why the layer does not take the case's event, empty if it does, there and back."""

    def run() -> None:
        trial = Trial(subject, case)
        z, _ = call(trial.layer, trial.x)
        if z.numel() != trial.x.numel():
            kind = LostEntries if z.numel() < trial.x.numel() else ValueError
            raise kind(f"{tuple(trial.x.shape)} became {tuple(z.shape)}")
        if trial.has("inverse"):
            call_inverse(trial.layer, z)

    return _attempt(run, seconds)[1]


def _smaller(subject: Subject, case: Case, seconds: float) -> tuple[Event, tuple[str, ...]]:
    """The largest event of at most ``SMALL`` dimensions that halving leads to, if accepted."""
    event = case.event
    n = math.prod(event)
    if n <= SMALL or len(event) == 1:
        return event, ()
    channels, space = event[0], list(event[1:])
    while channels * math.prod(space) > SMALL and max(space) > 1:
        axis = space.index(max(space))
        space[axis] = max(1, space[axis] // 2)
    small = (channels, *space)
    if small == event or channels * math.prod(space) > SMALL:
        return event, (f"large: {n} dimensions and no smaller size to check at",)
    told = _answers(subject, replace(case, event=small), seconds)
    if told or "other_sizes" in subject.lacks:
        why = subject.lacks.get("other_sizes", told)
        return event, (f"large: {n} dimensions; at {small} the layer is not checked ({why})",)
    way = "" if n <= MOST_EXPLICIT else " by random probes"
    note = f"large: {n} dimensions; checked at {small}, values and log-det also at full size{way}"
    return small, (note,)


def _neighbours(
    subject: Subject, case: Case, seconds: float
) -> tuple[tuple[Event, ...], tuple[Event, ...], tuple[tuple[Event, str], ...]]:
    """Sizes that the layer accepts, those at which it loses numbers, and those it refuses."""
    if subject.any_size or "other_sizes" in subject.lacks or math.prod(case.event) > SMALL:
        return (), (), ()
    accepted: list[Event] = []
    cut: list[Event] = []
    refused: list[tuple[Event, str]] = []
    for event in _near(case.event):
        told = _answers(subject, replace(case, event=event), seconds)
        lost = _LOST.search(told)
        if not told:
            accepted.append(event)
        elif lost and subject.keeps_entries:
            cut.append(event)
        else:
            refused.append((event, told))
    if refused:
        # It is built for some sizes: what else it takes, by broadcasting or by folding rows
        # together, is an accident that nobody asked for, except larger images.
        kept = [event for event in accepted if len(event) > 2 and _contains(event, case.event)]
        refused += [(e, "by accident only") for e in accepted if e not in kept]
        accepted = kept
    cut = [event for event in cut if _contains(event, case.event)]
    return tuple(accepted), tuple(cut), tuple(refused)


def _contains(event: Event, other: Event) -> bool:
    return all(a >= b for a, b in zip(event, other, strict=True))


#: What :func:`_answers` says of a size at which numbers are lost.
_LOST = re.compile(r"LostEntries")


class LostEntries(ValueError):
    """Forward took a size without a word and returned another count of numbers."""


def _near(event: Event) -> Iterator[Event]:
    """Sizes near an event: longer, odd or even, not square, a single entry."""
    C, *space = event
    if not space:
        return
    seen = {event}
    ones = [1] * len(space)
    longer = [size + 1 if axis else size for axis, size in enumerate(space)]
    doubled = [2 * size if axis == 0 else size for axis, size in enumerate(space)]
    odd = [size + 1 + axis if size % 2 == 0 else size + 2 * axis for axis, size in enumerate(space)]
    row = [1, *space[1:]]
    for sizes in (longer if len(space) > 1 else odd, odd, doubled, row, ones):
        if (C, *sizes) not in seen and C * math.prod(sizes) <= SMALL:
            seen.add((C, *sizes))
            yield (C, *sizes)


def _modes(found: Discovery, case: Case, seconds: float) -> Discovery:
    """The mode in which a layer is a function of its input, row by row, if there is one.

    A layer whose training mode couples the rows of a batch, draws random numbers, changes what
    its outputs read, or cannot invert, is judged in evaluation mode, where that is none of
    these; the one check that names it judges the mode as given.
    """
    subject = found.subject
    if subject.own and not _trains(subject, case):
        return found
    where, told = _trouble(subject, case, seconds)
    if not told:
        return found
    loud = replace(subject, coupled=told) if where == "rows_are_independent" else subject
    unsaid = replace(found, loud=loud, loud_in={where: told} if where else {})
    evaluated = replace(subject, build=lambda case: subject.build(case).eval(), memo={})
    if _trouble(evaluated, case, seconds)[1]:
        if where != "rows_are_independent":
            return found  # in both modes: every check says so
        return replace(unsaid, subject=loud, notes=(*found.notes, told))
    quiet = replace(evaluated, lacks={**subject.lacks, "modes": told})
    note = f"{told}; in eval mode it is not so: all other checks run there"
    return replace(unsaid, subject=quiet, notes=(*found.notes, note))


def _trains(subject: Subject, case: Case) -> bool:
    """Whether a layer is built in training mode with anything that knows modes."""
    return subject.build(case).training


def _trouble(subject: Subject, case: Case, seconds: float) -> tuple[str, str]:
    """The check that names what is wrong with a mode, and what is; empty if nothing is.

    A mode in which the inverse alone refuses has no check that fails for it.
    """
    wide = replace(case, dtype=torch.float64 if subject.doubles else case.dtype)
    steps = (
        ("calls_are_deterministic", lambda: _random(subject, wide)),
        ("rows_are_independent", lambda: _coupled(subject, wide)),
        ("calls_are_pure", lambda: _moving(subject, wide)),
        ("", lambda: _refuses(subject, replace(wide, style="initial"))),
    )
    for name, step in steps:
        told, _ = _attempt(step, seconds)
        if told:
            return name, told
    return "", ""


def _random(subject: Subject, case: Case) -> str:
    """Whether a call draws random numbers: equal copies differ by torch's global seed."""
    trial, values = Trial(subject, case), []
    for seed in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            values.append(call(trial.new_layer(), trial.x)[0])
    return "" if identical(*values) else "a call draws random numbers: equal layers differ"


def _moving(subject: Subject, case: Case) -> str:
    """Whether a call changes the state so that the same call gives something else."""
    trial = Trial(subject, case)
    layer = trial.new_layer()
    before = {
        name: value.clone()
        for name, value in layer.state_dict().items()
        if isinstance(value, Tensor)
    }
    first, again = (call(layer, trial.x) for _ in range(2))
    if all(map(identical, first, again)):
        return ""
    after = layer.state_dict()
    names = [f"`{n}`" for n in before if n in after and not identical(after[n], before[n])]
    if not names:
        return ""
    kind = "spectral normalisation: " if any("_u`" in n or "._v`" in n for n in names) else ""
    return f"every call changes {', '.join(names)}, which outputs read ({kind}a running value)"


def _refuses(subject: Subject, case: Case) -> str:
    """Why the inverse raises, empty if it does not; one that is not implemented does not count."""
    if "inverse" in subject.lacks:
        return ""
    answer = _answer_of_inverse(subject, case)
    if isinstance(answer, NotImplementedError) or not isinstance(answer, Exception):
        return ""
    return f"inverse raises {type(answer).__name__}: {one_line(answer)}"


def _coupled(subject: Subject, case: Case) -> str:
    """How rows depend on each other, empty if they do not."""
    trial = Trial(subject, case)
    x = trial.x
    z, again = (call(trial.new_layer(), v)[0] for v in (x, x.clone()))
    size = z[z.isfinite()].abs().max() if bool(z.isfinite().any()) else z.new_ones(())
    if not bool((again - z)[z.isfinite()].abs().max() <= COUPLED * size):
        return ""  # random inside: that is another clause
    others = trial.sample(70)
    for kept in (0, len(x) - 1):
        mixed = others.clone()
        mixed[kept] = x[kept]
        moved = call(trial.new_layer(), mixed)[0]
        share = float(torch.nan_to_num(moved[kept] - z[kept]).abs().max() / size)
        if share > COUPLED:
            return f"rows of a batch depend on each other: other samples change z by {share:.1g}"
    try:
        call(trial.new_layer(), x[:1])
    except Exception as error:  # batch statistics of one sample
        return f"rows of a batch depend on each other: one alone is refused ({one_line(error)})"
    return ""
