"""Jacobians of both directions of a layer, and of its definition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from emcheck import bounds
from emcheck._internal.copying import copy_layer
from emcheck.bounds import THRESHOLDS, Arithmetic
from emcheck.checks.calling import call, call_inverse
from emcheck.checks.case import Case
from emcheck.checks.trial import Trial
from emcheck.diagnosis.evidence.attempt import attempt, attempts
from emcheck.diagnosis.evidence.scene import Scene
from emcheck.oracle import as_extended
from emcheck.oracle.precision import Array

_U64 = Arithmetic.of(torch.float64)


@dataclass(frozen=True)
class Maps:
    """One sample ``x`` (flat), its image ``z``, the inverse ``xh`` of that, and Jacobians.

    ``F = dz/dx`` at x; ``G`` the inverse's Jacobian at z; ``D`` the definition's at x and
    ``defined`` its value, where there is one.
    """

    case: Case
    x: Array
    z: Array
    xh: Array
    F: Array
    G: Array | None
    D: Array | None
    defined: Array | None

    @cached_property
    def condition(self) -> float:
        return float(np.linalg.cond(self.F))

    @cached_property
    def unit(self) -> float:
        """``n kappa u`` with the threshold of T9: the error bound of a product or an inverse."""
        n = len(self.F)
        return THRESHOLDS["T9"] * bounds.dense_logdet(n, self.condition, 1, 0.0, _U64)

    @cached_property
    def implied(self) -> Array:
        """The forward Jacobian for which the inverse would be right, ``G^-1``."""
        assert self.G is not None
        return np.asarray(np.linalg.inv(self.G))

    def close(self, A: Array, B: Array) -> bool:
        """Whether all entries are equal up to rounding, relative to the largest of either."""
        return bool(self.same(A, B).all())

    def same(self, A: Array, B: Array) -> Array:
        """Which entries are equal up to rounding, relative to the largest of either matrix."""
        size = max(float(np.abs(A).max(initial=0.0)), float(np.abs(B).max(initial=0.0)))
        if not np.isfinite(size):
            return np.zeros(np.broadcast_shapes(A.shape, B.shape), dtype=bool)
        return np.asarray(np.abs(A - B) <= self.unit * size)


def measure_maps(scene: Scene, cases: Sequence[Case]) -> tuple[Maps, ...]:
    """Return the maps at the first sample of each case, where they can be formed."""
    return attempts([lambda case=case: _maps(scene.trial(case)) for case in cases])  # type: ignore[misc]


def _maps(trial: Trial) -> Maps:
    x = trial.x[:1].clone()
    z, _ = call(copy_layer(trial.layer), x.clone())
    F = trial.jacobian(x[0])
    back = attempt(lambda: call_inverse(copy_layer(trial.layer), z.clone())[0])
    xh = np.full(x.numel(), np.nan) if back is None else back.double().numpy().reshape(-1)
    defined, D = None, None
    definition = trial.definition
    if definition is not None:
        X = as_extended(x)
        D = np.asarray(definition.jacobian(X), dtype=np.float64)
        defined = np.asarray(definition.value(X), dtype=np.float64).reshape(-1)
    flat = [v.double().numpy().reshape(-1) for v in (x, z)]
    return Maps(trial.case, flat[0], flat[1], xh, F, _inverse_map(trial, z), D, defined)


def _inverse_map(trial: Trial, z: torch.Tensor) -> Array | None:
    """Return the inverse's Jacobian; by columns if autograd fails and the inverse is affine."""
    G = attempt(lambda: trial.by_autograd(z[0]) if _differentiable(trial, z) else None)
    if G is None or not np.isfinite(G).all() or not np.linalg.svd(G, compute_uv=False)[-1] > 0:
        G = _by_columns(trial, z)
    return G


def _differentiable(trial: Trial, z: torch.Tensor) -> bool:
    """Whether autograd can differentiate the inverse at all."""
    with torch.enable_grad():
        given = z[:1].clone().requires_grad_(True)
        out = copy_layer(trial.layer).inverse(given)[0]  # type: ignore[operator]
    return bool(out.requires_grad)


def _by_columns(trial: Trial, z: torch.Tensor) -> Array | None:
    layer, n = copy_layer(trial.layer), z.numel()
    basis = torch.eye(n, dtype=z.dtype).reshape(n, *z.shape[1:])
    zero = call_inverse(layer, torch.zeros_like(z))[0]
    columns = call_inverse(layer, basis)[0] - zero
    G = columns.double().numpy().reshape(n, -1).T
    straight = G @ z.double().numpy().reshape(-1) + zero.double().numpy().reshape(-1)
    there = call_inverse(layer, z)[0].double().numpy().reshape(-1)
    size = np.abs(G) @ np.abs(z.double().numpy().reshape(-1)) + np.abs(there)
    if not (np.abs(straight - there) <= THRESHOLDS["T8"] * n * _U64.u * size).all():
        return None
    return np.asarray(G)
