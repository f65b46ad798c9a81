"""Trial calls of one convention: do they agree with it, and with the Jacobian?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from emcheck.adapters.conventions import (
    Conventional,
    Taken,
    is_density,
    is_logdet,
    stored_logdet,
    unusual,
)
from emcheck.bounds import MOST_EXPLICIT, RECOGNISED
from emcheck.checks.calling import forward_of, is_per_sample
from emcheck.checks.trial import Trial
from emcheck.kit.attempts import attempt
from emcheck.oracle import explicit_jacobian


@dataclass(frozen=True)
class Answer:
    """What the trial calls of one convention returned."""

    taken: Taken
    z: Tensor
    back: Tensor | None

    def agrees(self, other: Answer) -> bool:
        """Whether both conventions are the same map, there and back."""
        pairs = [(self.z, other.z)]
        if self.back is not None and other.back is not None:
            pairs.append((self.back, other.back))
        return all(a.shape == b.shape and _close(a, b) for a, b in pairs)

    def returns(self, x: Tensor) -> bool:
        """Whether the inverse returns to ``x``."""
        return self.back is not None and self.back.shape == x.shape and _close(self.back, x)


def _close(a: Tensor, b: Tensor) -> bool:
    size = float(b.abs().max()) if b.numel() else 0.0
    return bool(((a - b).abs() <= RECOGNISED * (1 + size)).all())


def answer_of(trial: Trial, taken: Taken) -> Answer:
    with torch.no_grad():
        taken, z = _forward(trial, taken)
        if taken.convention.inverse is None:
            return Answer(taken, z, None)
        layer = Conventional(trial.new_layer(), taken)
        try:
            context = layer.cut(trial.x, 0)[1]
            back, logdet = layer.split(
                layer.call(taken.convention.inverse, z.clone(), context=context)
            )
        except NotImplementedError:
            return Answer(taken, z, None)
        if not isinstance(back, Tensor) or back.numel() != z.numel():
            got = tuple(back.shape) if isinstance(back, Tensor) else type(back).__name__
            raise ValueError(f"inverse: expected x {tuple(trial.x.shape)}, got {got}")
    taken = replace(taken, returned=(taken.returned[0], logdet is not None))
    return Answer(taken, z, back)


def _forward(trial: Trial, taken: Taken) -> tuple[Taken, Tensor]:
    """Return the form in which forward gives its log-det, and its ``z``."""
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

    If it may be left out, the answer without it decides; ``logdet_scale=1.0`` is none.
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
    """Return the attribute that a call has set, or the method, that has the log-det, if any."""
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
    """Return, for each direction, 1 if the log-det is added to the argument, -1 if subtracted.

    The name of the argument decides; for a log-density, the sign that is nearer to the Jacobian.
    """
    there, back = taken.convention.forward, taken.convention.inverse or taken.convention.forward
    if not is_density(there.carried) and not is_density(back.carried):
        return 1.0, 1.0
    sign = 1.0 if _distance(trial, taken, 1.0) < _distance(trial, taken, -1.0) else -1.0
    of_there, of_back = (sign if is_density(way.carried) else 1.0 for way in (there, back))
    return of_there, of_back


def _distance(trial: Trial, taken: Taken, sign: float) -> float:
    """Return how far ``sign`` times the returned log-det is from the Jacobian's, at most.

    It is relative to 1 plus the size of that log-det, and infinite if there is none.
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
