"""The convention by which a module is called: read from signatures, then tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from torch import nn

from emcheck.adapters import Adapted
from emcheck.adapters.conventions import (
    Convention,
    Conventional,
    Estimated,
    Taken,
    conventions_of,
)
from emcheck.checks import Case, Subject
from emcheck.checks.trial import Trial
from emcheck.kit.attempts import attempt
from emcheck.kit.trial_calls import Answer, answer_of


def recognise(subject: Subject, case: Case, seconds: float) -> tuple[Subject, tuple[str, ...]]:
    """Return the subject under the calls that its module offers, and notes that name them.

    Raises:
        ValueError: as :func:`_by_calls` does.
    """
    found, notes = _by_calls(subject, case, seconds)
    if not found.estimated:
        return found, notes
    build = found.build
    silent = replace(found, build=lambda case: Estimated(build(case)), unwrap=_inner, memo={})
    return silent, (*notes, "its log-det is a random estimate: judged on average")


def _by_calls(subject: Subject, case: Case, seconds: float) -> tuple[Subject, tuple[str, ...]]:
    """Return the subject under the calls that its module offers, and a note that names them.

    A module with ``forward(x) -> (z, logdet)`` and ``inverse(z)`` stays as it is; so does one that
    answers nothing, which discovery reports.

    Raises:
        ValueError: a context that the module does not take; two conventions that answer
            differently; or none that answers.
    """
    module = subject.original
    if isinstance(module, Adapted) and subject.tail != module.context_size:
        takes = f"one of {module.context_size} numbers" if module.context_size else "none"
        raise ValueError(f"context: {module.name} takes {takes}, got one of {subject.tail} numbers")
    if subject.own or module is None or isinstance(module, Adapted):
        return subject, ()
    offered = list(conventions_of(module))
    if "inverse" in subject.lacks:
        offered = [replace(one, inverse=None) for one in offered]
    if subject.context is not None:
        offered = [one.with_context() for one in offered]
    usable = [one for one in offered if not one.missing]
    if subject.context is not None:
        usable = [one for one in usable if one.context]
        if not usable:
            raise ValueError(_no_context(module, offered))
        return _as_taken(subject, _chosen(subject, case, usable, seconds).taken)
    usable = [one for one in usable if not one.needs_context]
    native = next((one for one in usable if is_contract(one)), None)
    if native is not None and native.inverse is None and "inverse" not in subject.lacks:
        native = None
    if native is not None:
        answer = _native(subject, case, native, seconds)
        return (subject, ()) if answer is None else _as_taken(subject, answer.taken)
    if not usable:
        raise ValueError(_no_way(module, offered))
    return _as_taken(subject, _chosen(subject, case, usable, seconds).taken)


def _as_taken(subject: Subject, taken: Taken) -> tuple[Subject, tuple[str, ...]]:
    """Return the subject with layers called as ``taken`` says, and a note about it."""
    build = subject.build

    def built(case: Case) -> nn.Module:
        layer = Conventional(build(case), taken)
        if taken.context is not None and case.event != taken.events[0]:
            layer.resize(case.event)
        return layer

    found = replace(subject, build=built, unwrap=_inner, memo={})
    return found, (f"taken as {taken.written()}",)


def _inner(layer: nn.Module) -> nn.Module:
    while isinstance(layer, Conventional | Estimated):
        layer = layer.layer
    return layer


def is_contract(convention: Convention) -> bool:
    """Whether both calls are those of the contract, as far as signatures go."""
    there, back = convention.forward, convention.inverse
    plain = there.method == "forward" and not there.keywords
    return plain and (back is None or (back.method == "inverse" and not back.keywords))


def _native(subject: Subject, case: Case, convention: Convention, seconds: float) -> Answer | None:
    """Return the answer of a module of the contract that needs more than that; else None."""
    answer = _tried(subject, case, Taken(convention), seconds)[0]
    if answer is None:
        return None
    taken: Taken = answer.taken
    other = taken.convention.carried or taken.per_entry or taken.unusual
    plain = taken.returned[0] and not other
    return None if plain else answer


def _chosen(subject: Subject, case: Case, usable: Sequence[Convention], seconds: float) -> Answer:
    """Return the one convention that answers, in both directions if there is one.

    Raises:
        ValueError: none does, or two do so differently.
    """
    found: list[Answer] = []
    told: list[str] = []
    for wrapped in ("", "list", "tuple"):
        for one in usable:
            if wrapped and one.inverse is None:
                continue
            taken = Taken(one, wrapped=wrapped, context=subject.context)
            taken = replace(taken, events=(case.event, case.event))
            answer, why = _tried(subject, case, taken, seconds)
            if answer is not None:
                found.append(answer)
            else:
                told.append(f"{one.written()} {why}")
        if any(one.taken.convention.inverse for one in found):
            break
    if not found:
        name = type(subject.original).__name__
        raise ValueError(
            f"expected a shape that {name} accepts, got {case.event}: {told[0]}; {_lambdas(usable)}"
        )
    both = [one for one in found if one.back is not None]
    both = both or _inverse_raises(subject, case, usable, seconds) or found[:1]
    x = Trial(subject, case).x
    x = x[:, : -subject.tail].reshape(-1, *case.event) if subject.tail else x
    back = [one for one in both if one.returns(x)]
    if not all(both[0].agrees(other) for other in both[1:]) and len(back) != 1:
        calls = " and ".join(one.taken.convention.written() for one in both[:2])
        raise ValueError(
            f"expected one convention, got two that answer differently: {calls}; "
            f"{_lambdas([one.taken.convention for one in both])} says which"
        )
    return back[0] if len(back) == 1 else both[0]


def _inverse_raises(
    subject: Subject, case: Case, usable: Sequence[Convention], seconds: float
) -> list[Answer]:
    """Return the answer of forward beside an ``inverse`` that raises: checks report that."""
    for one in usable:
        if one.inverse is None or "inv" not in one.inverse.method:
            continue
        alone = Taken(replace(one, inverse=None), context=subject.context)
        alone = replace(alone, events=(case.event, case.event))
        answer, _ = _tried(subject, case, alone, seconds)
        if answer is not None:
            taken = replace(answer.taken, convention=one, returned=(answer.taken.returned[0], True))
            return [replace(answer, taken=taken)]
    return []


def _tried(subject: Subject, case: Case, taken: Taken, seconds: float) -> tuple[Answer | None, str]:
    """Return the answers of both calls at trained-like parameters, else at initial ones."""
    why = ""
    for style in ("trained", "initial"):
        trial = Trial(subject, replace(case, style=style))
        answer, told = attempt(partial(answer_of, trial, taken), seconds)
        if answer is not None:
            return answer, ""
        why = why or told
    return None, why


def _no_way(module: nn.Module, offered: Sequence[Convention]) -> str:
    """Return one line for a module whose calls need an argument that is unknown."""
    name = type(module).__name__
    contexts = [one for one in offered if one.needs_context and not one.missing]
    if contexts:
        argument = contexts[0].context
        return (
            f"expected a context for {name}, whose calls need `{argument}`: context=(3,) gives "
            "each sample three numbers, context=f one of f(batch, generator)"
        )
    missing = ", ".join(f"`{one}`" for one in offered[0].missing) if offered else "both directions"
    return f"expected calls of {name} with data alone, they need {missing}; {_lambdas(offered)}"


def _no_context(module: nn.Module, offered: Sequence[Convention]) -> str:
    """Return one line for a context that no call takes."""
    calls = offered[0].written() if offered else "no call at all"
    return (
        f"expected a layer whose calls take a context (an argument such as `context` or `cond`), "
        f"got {type(module).__name__} with {calls}"
    )


def _lambdas(offered: Sequence[Convention]) -> str:
    """Return ``emcheck.adapt`` with two functions, ready to paste and to complete."""
    best = offered[0] if offered else None

    def call(direction: str, letter: str) -> str:
        route = getattr(best, direction) if best else None
        if route is None:
            return f"layer.{direction}({letter})"
        words = [letter, *[f"{name}=..." for name in route.missing]]
        words += [f"{name}={value!r}" for name, value in route.keywords]
        method = "layer" if route.method == "forward" else f"layer.{route.method}"
        return f"{method}({', '.join(words)})"

    return (
        f"emcheck.adapt(layer, forward=lambda layer, x: {call('forward', 'x')}, "
        f"inverse=lambda layer, z: {call('inverse', 'z')})"
    )
