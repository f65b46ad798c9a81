"""The condition number of every mixing layer of a flow."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from emcheck._internal.randomness import stream
from emcheck.contract import Event
from emcheck.flows import Glow
from emcheck.layers import ActNorm2d, AffineCoupling2d, Squeeze2d
from emcheck.oracle import condition_number, explicit_jacobian
from emcheck.oracle.precision import Array
from emcheck.specs import Trait, spec_of


@torch.no_grad()
def mixing_conditions(flow: Glow) -> list[float]:
    """``cond_2`` of what lies between each actnorm and coupling, level by level.

    The matrix is made by pushing basis images through in float64, at the size the layers have
    in the flow. A mixing that is not affine has another one everywhere: it is the Jacobian at
    :func:`point`. Infinite where it is singular or not finite.

    Cost: an SVD of ``C H W`` unknowns for each step; where a mixing is pointwise, of ``C``.
    """
    found = []
    C, H, W = flow.shape
    for l, level in enumerate(flow.levels):
        C, H, W = 4 * C, H // 2, W // 2
        for mixing in _mixings(level.get_submodule("layers").children()):
            pointwise = _all_have(Trait.POINTWISE, mixing)
            event = (C, 1, 1) if pointwise else (C, H, W)
            found.append(condition_number(_matrix(mixing, event)))
        C = flow.kept(l)
    return found


def _mixings(layers: Iterator[nn.Module]) -> list[list[nn.Module]]:
    found: list[list[nn.Module]] = []
    for layer in layers:
        if isinstance(layer, ActNorm2d):
            found.append([])
        elif not isinstance(layer, (AffineCoupling2d, Squeeze2d)):
            found[-1].append(layer)
    return found


def point(event: Event) -> Tensor:
    """Return the point at which a mixing that is not affine is judged, standard normal numbers."""
    return torch.randn(event, generator=stream("condition", *event), dtype=torch.float64)


def _all_have(trait: Trait, layers: list[nn.Module]) -> bool:
    specs = [spec_of(layer) for layer in layers]
    return all(spec is not None and trait in spec.traits for spec in specs)


def _matrix(layers: list[nn.Module], event: Event) -> Array:
    n, double = math.prod(event), [copy.deepcopy(layer).cpu().double() for layer in layers]

    def through(x: Tensor) -> Tensor:
        for layer in double:
            x = layer(x)[0]
        return x

    if not _all_have(Trait.LINEAR, layers):
        with torch.enable_grad():
            return explicit_jacobian(lambda x: (through(x), x), point(event))
    basis = torch.eye(n, dtype=torch.float64).reshape(n, *event)
    bias = through(torch.zeros(1, *event, dtype=torch.float64))
    return np.asarray((through(basis) - bias).reshape(n, n).T.numpy())
