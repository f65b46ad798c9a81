"""By which convention somebody's module is called: read from signatures, then tried."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from emcheck.adapters import Adapted
from emcheck.adapters.conventions import (
    Convention,
    Conventional,
    Estimated,
    Taken,
    conventions_of,
    is_density,
    is_logdet,
    stored_logdet,
    unusual,
)
from emcheck.bounds import MOST_EXPLICIT, RECOGNISED
from emcheck.checks import Case, Subject
from emcheck.checks.calling import forward_of, is_per_sample
from emcheck.checks.trial import Trial
from emcheck.kit.attempts import attempt
from emcheck.oracle import explicit_jacobian


@dataclass(frozen=True)
class _Answer:
    """What the trial calls of one convention gave."""

    taken: Taken
    z: Tensor
    back: Tensor | None

    def agrees(self, other: _Answer) -> bool:
        """Whether both conventions are the same map, there and back."""
        pairs = [(self.z, other.z)]
        if self.back is not None and other.back is not None:
            pairs.append((self.back, other.back))
        return all(a.shape == b.shape and _close(a, b) for a, b in pairs)

    def returns(self, x: Tensor) -> bool:
        """Whether the way back leads to where it began."""
        return self.back is not None and self.back.shape == x.shape and _close(self.back, x)


def _close(a: Tensor, b: Tensor) -> bool:
    size = float(b.abs().max()) if b.numel() else 0.0
    return bool(((a - b).abs() <= RECOGNISED * (1 + size)).all())


def recognise(subject: Subject, case: Case, seconds: float) -> tuple[Subject, tuple[str, ...]]:
    """The subject under the calls that its module offers, and notes that say which.

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
    """The subject under the calls that its module offers, and a note that says which.

    A module with ``forward(x) -> (z, logdet)`` and ``inverse(z)`` stays as it is; so does one
    that answers nothing, which discovery names.

    Raises:
        ValueError: two conventions that both answer, differently; or none that does.
    """
    module = subject.original
    if isinstance(module, Adapted) and subject.context is not None:
        raise ValueError(
            f"expected a layer that takes a context, got {module.name}, which has none"
        )
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
    """The subject whose layers are called so, and a note that says it."""
    build = subject.build

    def built(case: Case) -> nn.Module:
        return Conventional(build(case), taken)

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


def _native(subject: Subject, case: Case, convention: Convention, seconds: float) -> _Answer | None:
    """What a module of the contract needs besides; None where it is taken as it is."""
    answer = _tried(subject, case, Taken(convention), seconds)[0]
    if answer is None:
        return None
    taken: Taken = answer.taken
    other = taken.convention.carried or taken.per_entry or taken.unusual
    plain = taken.returned[0] and not other
    return None if plain else answer


def _chosen(subject: Subject, case: Case, usable: Sequence[Convention], seconds: float) -> _Answer:
    """The one convention that answers in both directions.

    Raises:
        ValueError: none does, or two do so differently.
    """
    found: list[_Answer] = []
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
    both = [one for one in found if one.back is not None] or found[:1]
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


def _tried(
    subject: Subject, case: Case, taken: Taken, seconds: float
) -> tuple[_Answer | None, str]:
    """The answers of both calls at parameters moved as training moves them, else as built."""
    why = ""
    for style in ("trained", "initial"):
        trial = Trial(subject, replace(case, style=style))
        answer, told = attempt(partial(_answer, trial, taken), seconds)
        if answer is not None:
            return answer, ""
        why = why or told
    return None, why


def _answer(trial: Trial, taken: Taken) -> _Answer:
    with torch.no_grad():
        taken, z = _forward(trial, taken)
        if taken.convention.inverse is None:
            return _Answer(taken, z, None)
        layer = Conventional(trial.new_layer(), taken)
        try:
            context = layer.cut(trial.x, 0)[1]
            back, logdet = layer.split(
                layer.call(taken.convention.inverse, z.clone(), context=context)
            )
        except NotImplementedError:
            return _Answer(taken, z, None)
        if not isinstance(back, Tensor) or back.numel() != z.numel():
            got = tuple(back.shape) if isinstance(back, Tensor) else type(back).__name__
            raise ValueError(f"inverse: expected x {tuple(trial.x.shape)}, got {got}")
    taken = replace(taken, returned=(taken.returned[0], logdet is not None))
    return _Answer(taken, z, back)


def _forward(trial: Trial, taken: Taken) -> tuple[Taken, Tensor]:
    """What forward returns, and in which form its log-det comes."""
    module = trial.new_layer()
    before = set(vars(module))
    layer = Conventional(module, taken)
    x, context = layer.cut(trial.x, 0)
    answer = layer.call(taken.convention.forward, x.clone(), context=context)
    taken = replace(taken, unusual=unusual(answer) and not taken.wrapped)
    z, logdet = layer.split(answer)
    if not isinstance(z, Tensor) or (taken.unusual and not is_per_sample(logdet, len(x))):
        raise ValueError(f"forward: expected z or (z, logdet), got {type(answer).__name__}")
    if z.numel() != x.numel() or len(z) != len(x):
        raise ValueError(f"forward: expected z of {x.numel()} numbers, got {tuple(z.shape)}")
    if taken.convention.forward.carried and not _carries(layer, x, logdet, context):
        plain = taken.convention.without_carried()
        return _forward(trial, replace(taken, convention=plain))
    taken = replace(taken, returned=(logdet is not None, taken.returned[1]))
    taken = replace(taken, events=(tuple(x.shape[1:]), tuple(z.shape[1:])))
    if logdet is None:
        return replace(taken, stored=_stored(module, before, x, z)), z
    if taken.convention.forward.carried:
        return replace(taken, sign=_signs(trial, taken)), z
    if isinstance(logdet, Tensor) and logdet.shape == x.shape and not is_per_sample(logdet, len(x)):
        summed = replace(taken, per_entry=True)
        return (summed if _distance(trial, summed, 1.0) <= RECOGNISED else taken), z
    return taken, z


def _carries(layer: Conventional, x: Tensor, logdet: Any, context: Tensor | None) -> bool:
    """Whether the argument named like a log-det is one: 0 for it changes nothing.

    Where it may be left out, the answer without it tells; ``logdet_scale=1.0`` is none.
    """
    way = replace(layer.taken.convention.forward, carried="")
    try:
        alone = layer.split(layer.call(way, x.clone(), context=context))[1]
    except TypeError:
        return True  # it has to be given
    if alone is None or logdet is None:
        return True
    kinds = (Tensor, float, int)
    if not isinstance(alone, kinds) or not isinstance(logdet, kinds):
        return True
    return _close(*torch.broadcast_tensors(*(torch.as_tensor(v).to(x) for v in (alone, logdet))))


def _stored(module: nn.Module, before: set[str], x: Tensor, z: Tensor) -> str:
    """The attribute that a call has set, or the method, that has the log-det."""
    for name in filter(is_logdet, dir(module)):
        held = getattr(module, name, None)
        fresh = name not in before or callable(held)
        if held is None or isinstance(held, nn.Parameter) or name in module._buffers:
            continue
        run = partial(stored_logdet, module, name, x.clone(), z)
        found = attempt(run, 10.0)[0] if fresh or isinstance(held, Tensor | float) else None
        if found is not None and is_per_sample(found, len(x)):
            return name
    return ""


def _signs(trial: Trial, taken: Taken) -> tuple[float, float]:
    """Whether the log-det is added to what is handed in, or subtracted, in each direction.

    The name decides; a log-density to which it is added is known by the Jacobian: that is nearer.
    """
    there, back = taken.convention.forward, taken.convention.inverse or taken.convention.forward
    if not is_density(there.carried) and not is_density(back.carried):
        return 1.0, 1.0
    sign = 1.0 if _distance(trial, taken, 1.0) < _distance(trial, taken, -1.0) else -1.0
    of_there, of_back = (sign if is_density(way.carried) else 1.0 for way in (there, back))
    return of_there, of_back


def _distance(trial: Trial, taken: Taken, sign: float) -> float:
    """How far ``sign`` times the log-det that comes out is from that of the Jacobian, at most.

    Relative to that log-det, or to 1; infinite where there is none.
    """
    if trial.x[0].numel() > MOST_EXPLICIT:
        return math.inf
    layer = Conventional(trial.new_layer(), replace(taken, sign=(sign, sign)))
    apart = []
    for one in trial.x:
        with torch.enable_grad():
            J = explicit_jacobian(lambda x: forward_of(layer, x.clone()), one)
            got = float(forward_of(layer, one[None].clone())[1].detach()[0])
        expected = float(torch.linalg.slogdet(torch.as_tensor(J))[1])
        distance = abs(got - expected) / (1 + abs(expected))
        apart.append(distance if math.isfinite(distance) else math.inf)
    return max(apart)


def _no_way(module: nn.Module, offered: Sequence[Convention]) -> str:
    """One line for a module that cannot be called without something that nobody knows."""
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
    """One line for a context that no call takes."""
    calls = offered[0].written() if offered else "no call at all"
    return (
        f"expected a layer whose calls take a context (an argument such as `context` or `cond`), "
        f"got {type(module).__name__} with {calls}"
    )


def _lambdas(offered: Sequence[Convention]) -> str:
    """``emcheck.adapt`` with two functions, ready to paste and to complete."""
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
