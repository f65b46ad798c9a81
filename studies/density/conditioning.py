"""The condition number of every mixing layer of a flow."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from emcheck.flows import Glow
from emcheck.layers import ActNorm2d, AffineCoupling2d, Squeeze2d
from emcheck.oracle import condition_number
from emcheck.specs import Trait, spec_of


@torch.no_grad()
def mixing_conditions(flow: Glow) -> list[float]:
    """``cond_2`` of what lies between each actnorm and coupling, level by level.

    The matrix is made by pushing basis images through in float64, at the size the layers have
    in the flow. Infinite where it is singular or not finite.

    Cost: an SVD of ``C H W`` unknowns for each step; where a mixing is pointwise, of ``C``.
    """
    found = []
    C, H, W = flow.shape
    for l, level in enumerate(flow.levels):
        C, H, W = 4 * C, H // 2, W // 2
        for mixing in _mixings(level.get_submodule("layers").children()):
            pointwise = not any(_is_spatial(layer) for layer in mixing)
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


def _is_spatial(layer: nn.Module) -> bool:
    spec = spec_of(layer)
    return spec is None or Trait.POINTWISE not in spec.traits


def _matrix(layers: list[nn.Module], event: tuple[int, int, int]):  # type: ignore[no-untyped-def]
    n = math.prod(event)

    def through(x: Tensor) -> Tensor:
        for layer in layers:
            x = copy.deepcopy(layer).cpu().double()(x)[0]
        return x

    basis = torch.eye(n, dtype=torch.float64).reshape(n, *event)
    bias = through(torch.zeros(1, *event, dtype=torch.float64))
    return (through(basis) - bias).reshape(n, n).T.numpy()
