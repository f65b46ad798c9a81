"""Log-dets that a layer returned, next to those of its explicit Jacobian."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor

from emcheck import bounds
from emcheck._internal.copying import copy_layer
from emcheck.bounds import BOTH_SIDES, THRESHOLDS, Arithmetic, too_ill
from emcheck.checks.calling import call, call_inverse
from emcheck.checks.case import Case
from emcheck.checks.trial import Trial
from emcheck.diagnosis.evidence.attempt import attempt, attempts
from emcheck.diagnosis.evidence.recording import Recorder
from emcheck.diagnosis.evidence.scene import Scene
from emcheck.diagnosis.evidence.terms import parameter_terms
from emcheck.oracle import slogdet
from emcheck.oracle.precision import Array

U64 = Arithmetic.of(torch.float64)


@dataclass(frozen=True)
class LogdetExample:
    """One batch: the returned log-dets, those of the Jacobians, and the permitted difference.

    ``got``, ``expected``, ``bound`` are ``(B,)``. ``terms`` holds possible terms of the log-det by
    name, ``(B,)`` each: of submodules as they were called, and of parameters. ``x`` and ``z`` are
    data and latents, ``opposite`` is the log-det of the other direction at the same input and
    ``opposite_there`` that at the output.
    """

    case: Case
    got: Array
    expected: Array
    bound: Array
    z: Array
    x: Array
    opposite: Array
    opposite_there: Array
    jacobians: Array  # (B, n, n), dz/dx
    terms: Mapping[str, Array] = field(default_factory=dict)

    @property
    def off(self) -> Array:
        """Which samples are wrong, ``(B,)``; NaN is wrong."""
        return ~(np.abs(self.got - self.expected) <= self.bound)

    def fits(self, predicted: Array) -> bool:
        """Whether ``got`` is ``predicted`` up to rounding, in every sample."""
        with np.errstate(all="ignore"):
            grown = np.maximum(1.0, np.abs(predicted) / np.maximum(np.abs(self.expected), 1.0))
            return bool((np.abs(self.got - predicted) <= BOTH_SIDES * self.bound * grown).all())

    def tells(self, predicted: Array) -> bool:
        """Whether ``predicted`` clearly differs from what is right, in some sample."""
        return bool((np.abs(predicted - self.expected) > 4 * BOTH_SIDES * self.bound).any())


def logdet_examples(scene: Scene, inverse: bool) -> tuple[LogdetExample, ...]:
    """Return examples over the spread of cases; those that cannot be judged are left out."""
    return attempts([partial(_example, scene.trial(case), inverse) for case in scene.spread])


def _example(trial: Trial, inverse: bool) -> LogdetExample:
    layer = copy_layer(trial.layer)
    given = trial.latent if inverse else trial.x
    recorder = Recorder(layer, len(given))
    run = call_inverse if inverse else call
    out, logdet = run(layer, given.clone())
    terms = {**recorder.terms(), **parameter_terms(trial.layer, given, trial.subject.unwrap)}
    expected, bound, jacobians = [], [], []
    for n in range(len(given)):
        J = trial.jacobian(given[n], inverse=inverse)
        if inverse and not _usable(J):  # an inverse without gradients
            J = np.linalg.inv(trial.jacobian(out[n]))
        if not _usable(J):
            raise ValueError("expected an invertible Jacobian, got a singular one")
        value, kappa = slogdet(J)
        expected.append(value)
        bound.append(THRESHOLDS["T9"] * bounds.dense_logdet(len(J), kappa, 1, value, U64))
        jacobians.append(J)
    other = call if inverse else call_inverse

    def opposite_at(place: Tensor) -> Array:
        answer = attempt(lambda: other(copy_layer(trial.layer), place.clone())[1])
        return _or_nan(answer, len(given))

    opposite, opposite_there = opposite_at(given), opposite_at(out)
    ends = [v.double().numpy() for v in ((out, given) if inverse else (given, out))]
    return LogdetExample(
        case=trial.case,
        got=np.asarray(logdet.double().numpy(), dtype=np.float64),
        expected=np.array(expected),
        bound=np.array(bound),
        x=ends[0],
        z=ends[1],
        opposite=opposite,
        opposite_there=opposite_there,
        jacobians=np.stack(jacobians),
        terms=terms,
    )


def _or_nan(logdet: Tensor | None, batch: int) -> Array:
    return np.full(batch, np.nan) if logdet is None else logdet.double().numpy()


def _usable(J: Array) -> bool:
    """Whether J is finite, square and far enough from singular for its log-det to be judged."""
    if J.shape[0] != J.shape[1] or not np.isfinite(J).all():
        return False
    singular = np.linalg.svd(J, compute_uv=False)
    if not singular[-1] > 0:
        return False
    return not too_ill(float(singular[0] / singular[-1]), len(J) * U64.u)
