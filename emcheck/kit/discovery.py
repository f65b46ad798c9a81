"""What a layer does when it is first called: how it starts, in which mode, what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from emcheck.adapters import Adapted
from emcheck.checks import Case, Subject
from emcheck.checks.calling import call, call_inverse, inverse_of, is_per_sample
from emcheck.checks.capabilities import missing
from emcheck.checks.trial import Trial
from emcheck.contract import Event
from emcheck.guard import one_line
from emcheck.kit.attempts import answer_of_inverse, attempt
from emcheck.kit.conditions import useless_context
from emcheck.kit.modes import find_mode
from emcheck.kit.recognise import recognise
from emcheck.kit.sizes import Sizes, neighbours, smaller
from emcheck.kit.starting import started

#: Samples in a batch that shows whether rows depend on each other.
_ROWS = 4


@dataclass(frozen=True)
class Discovery:
    """What a layer does when it is first called; the checks are run on this.

    Args:
        subject: as found: started, in the mode that suits it, with what it lacks.
        loud: the subject in the mode as given.
        loud_in: check -> why, for the checks that judge the mode as given.
        event: the size of most checks: the given one, or a smaller one.
        sizes: what it does at other sizes.
        silent: (direction, dtype) that does not answer -> why; empty if all do.
        notes: lines for the report.
    """

    subject: Subject
    loud: Subject
    event: Event
    loud_in: Mapping[str, str] = field(default_factory=dict)
    sizes: Sizes = field(default_factory=Sizes)
    silent: Mapping[tuple[str, torch.dtype], str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def discover(
    subject: Subject, event: Event, dtypes: Sequence[torch.dtype], seed: int, seconds: float
) -> Discovery:
    """Call the layer a few times and return what that shows.

    Raises:
        ValueError: ``forward`` refuses the event in every dtype.
    """
    subject, taken = recognise(subject, Case(event, 3, dtypes[0], seed=seed), seconds)
    subject, notes = started(subject, Case(event, 8, seed=seed), seconds)
    notes = (*taken, *notes)
    told = {
        one: _forward_answer(subject, Case(event, 3, one, seed=seed), seconds) for one in dtypes
    }
    silent = {("forward", one): text for one, text in told.items() if text}
    if len(silent) == len(dtypes):
        text = told[dtypes[0]]
        if text.startswith(_NO_PAIR) or not text.startswith(_RAISED):
            return Discovery(subject, subject, event, silent=silent, notes=notes)
        wanted = f"a shape that {subject.name} accepts, got {event}"
        if "cannot pickle" in text:
            wanted = f"a layer that copy.deepcopy copies, got {subject.name}"
        raise ValueError(f"expected {wanted}: {text.removeprefix(_RAISED)}")
    dtype = next(one for one in dtypes if not told[one])
    asked = torch.float64 in dtypes
    if told.get(torch.float64) or (not asked and _no_double(subject, event, seed, seconds)):
        subject = replace(subject, doubles=False)
    case = Case(event, 3, dtype, "cpu", "initial", "unit", seed)
    mode = find_mode(subject, replace(case, batch=_ROWS, style="trained"), seconds)
    subject = _offers(mode.subject, case, seconds)
    loud = replace(mode.loud, lacks=subject.lacks)
    notes = (*notes, *mode.notes, *useless_context(mode.subject, case, seconds))
    found = Discovery(subject, loud, event, mode.loud_in, silent=silent, notes=notes)
    for one in dtypes:
        if ("forward", one) not in silent:
            text = _inverse_answer(subject, replace(case, dtype=one), seconds)
            silent |= {("inverse", one): text} if text else {}
    found = replace(found, silent=silent)
    if all(any((direction, one) in silent for direction in _DIRECTIONS) for one in dtypes):
        return found
    small, about_size = smaller(subject, replace(case, batch=1), seconds)
    at_small = replace(case, event=small, batch=1)
    sizes = neighbours(subject, at_small, seconds)
    known = {"sizes": sizes.accepted, "divisor": sizes.divisor}
    return replace(
        found,
        subject=replace(found.subject, **known),  # type: ignore[arg-type]
        loud=replace(found.loud, **known),  # type: ignore[arg-type]
        event=small,
        sizes=sizes,
        notes=(*found.notes, *about_size),
    )


_DIRECTIONS = ("forward", "inverse")

#: How a refusal by forward begins: by any exception, and by one that says that no pair came back.
_RAISED, _NO_PAIR = "forward raised ", "forward raised ValueError: forward: expected"


def _forward_answer(subject: Subject, case: Case, seconds: float) -> str:
    """Return why forward does not answer at initial parameters, empty if it does."""
    case = replace(case, style="initial")

    def run() -> None:
        trial = Trial(subject, case)
        call(trial.layer, trial.x)

    told = attempt(run, seconds)[1]
    return f"forward {told}" if told else ""


def _no_double(subject: Subject, event: Event, seed: int, seconds: float) -> bool:
    """Whether forward does not answer in float64, for a report that is not in float64."""
    return bool(_forward_answer(subject, Case(event, 3, torch.float64, seed=seed), seconds))


def _offers(subject: Subject, case: Case, seconds: float) -> Subject:
    """Return the subject with what two calls show to be missing: inverse, its log-det, its graph.

    For this project's layers a missing capability is a fault.
    """
    subject = _shown(subject)
    if subject.own or "inverse" in subject.lacks:
        return _forms(subject, case, seconds)
    cases = [replace(case, seed=case.seed + n) for n in (0, 1)]
    answers = [answer_of_inverse(subject, one, seconds) for one in cases]
    lacks = dict(_shown(subject).lacks)
    if all(isinstance(answer, NotImplementedError) for answer in answers):
        told = f"inverse is not implemented: {one_line(answers[0])}"
        lacks |= dict.fromkeys(missing({"inverse": False}), told)
    elif all(isinstance(answer, tuple) and answer[1] is None for answer in answers):
        lacks.setdefault("inverse_logdet", "inverse returns x alone, without a log-det")
    if "inverse" not in lacks and "inverse_gradient" not in lacks:
        told = attempt(lambda: _graph_of_inverse(subject, case, seconds), seconds)[0]
        if told:
            lacks["inverse_gradient"] = told
    if "transforms" not in lacks and attempt(lambda: _reassigns(subject, case), seconds)[0]:
        lacks["transforms"] = "a call assigns new memory to a parameter (`.data =`)"
    return _forms(replace(subject, lacks=lacks), case, seconds)


def _shown(subject: Subject) -> Subject:
    """Return the subject with what calls have shown its adapter to be missing."""
    if not isinstance(subject.original, Adapted):
        return subject
    shown = missing(dict.fromkeys(subject.original.shown, False), "as its calls show")
    return replace(subject, lacks={**shown, **subject.lacks})


def _graph_of_inverse(subject: Subject, case: Case, seconds: float) -> str:
    """Return why no gradient flows from x back to z, empty if one does."""
    wide = torch.float64 if subject.doubles else case.dtype
    trial = Trial(subject, replace(case, style="trained", dtype=wide))
    z = trial.latent.detach().clone().requires_grad_(True)
    told = "no gradient flows from x back to z (computed under no_grad, in NumPy or in place)"
    try:
        with torch.enable_grad():
            x = inverse_of(trial.layer, z.clone())[0]
            data = x.flatten(1)[:, : x[0].numel() - subject.tail]  # a context is handed through
            if not data.requires_grad:
                return told
            (gradient,) = torch.autograd.grad(data.sum(), z, allow_unused=True)
    except RuntimeError as error:
        plain = attempt(lambda: call_inverse(trial.new_layer(), trial.latent), seconds)[1]
        return "" if plain else f"inverse answers only without gradients: {one_line(error)}"
    return told if gradient is None or not bool((gradient != 0).any()) else ""


def _reassigns(subject: Subject, case: Case) -> bool:
    """Whether a call gives a parameter other memory (``.data =``)."""
    trial = Trial(subject, case)
    layer = trial.layer
    places = {name: tensor.data_ptr() for name, tensor in layer.named_parameters()}
    call(layer, trial.x)
    return any(p.data_ptr() != places.get(n) for n, p in layer.named_parameters())


def _forms(subject: Subject, case: Case, seconds: float) -> Subject:
    """Return the subject, its log-dets marked broken if their shape is not that of a log-det."""

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

    found: Subject | None = attempt(run, seconds)[0]
    return found or subject


def _inverse_answer(subject: Subject, case: Case, seconds: float) -> str:
    """Return why the inverse never answers in two draws; empty if it does or there is none."""
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

    told = attempt(run, seconds)[1]
    return f"inverse {told}" if told else ""
