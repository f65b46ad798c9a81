"""The trial of a solver on a device: seeded problems of both masks, judged by rule T2."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from emcheck.bounds import Arithmetic, Measure, compare
from emcheck.solve.masks import Mask, live_taps

#: Mask, reverse, dilation of the problems.
_PROBLEMS: tuple[tuple[Mask, bool, int], ...] = (("square", False, 1), ("raster", True, 2))


def try_solver(
    substitute: Callable[[Tensor, Tensor, Mask, bool, int], Tensor],
    shape: tuple[int, int, int, int],
    dtype: torch.dtype,
    device: torch.device,
) -> Measure:
    """The worst componentwise backward error of ``substitute`` on 3x3 problems of one shape.

    Residuals are computed on the CPU in float64, whose own rounding is part of the bound.
    """
    measures = []
    for seed, (mask, reverse, dilation) in enumerate(_PROBLEMS):
        weight, z = _problem(shape, mask, reverse, dtype, seed)
        x = substitute(weight.to(device), z.to(device), mask, reverse, dilation)
        measures.append(_residual(weight, z, x.cpu(), dilation))
    return max(measures, key=lambda measure: measure.ratio)


def _problem(
    shape: tuple[int, int, int, int], mask: Mask, reverse: bool, dtype: torch.dtype, seed: int
) -> tuple[Tensor, Tensor]:
    """A masked weight ``(C, C, 3, 3)`` with a diagonal of both signs near 1, and a latent."""
    generator = torch.Generator().manual_seed(seed)
    C = shape[1]
    live = live_taps(C, 3, mask, reverse)
    weight = torch.randn(C, C, 3, 3, generator=generator, dtype=torch.float64)
    weight *= live / (2 * math.sqrt(C * int(live[0, 0].sum()) + 1))
    diagonal = 1 + torch.rand(C, generator=generator, dtype=torch.float64)
    weight[:, :, 1, 1].diagonal().copy_(diagonal * (-1.0) ** torch.arange(C))
    z = torch.randn(shape, generator=generator, dtype=torch.float64)
    return weight.to(dtype), z.to(dtype)


def _residual(weight: Tensor, z: Tensor, x: Tensor, dilation: int) -> Measure:
    """``|A x - z|`` over the bound of T2, ``m`` products a row, plus that of computing ``A x``."""
    given, exact = Arithmetic.of(z.dtype), Arithmetic.of(torch.float64)
    m = int((weight != 0).sum((1, 2, 3)).max())
    weight, z, x = weight.double(), z.double(), x.double()
    got = F.conv2d(x, weight, padding=dilation, dilation=dilation)
    sizes = F.conv2d(x.abs(), weight.abs(), padding=dilation, dilation=dilation)
    bound = given.gamma(m + 1) * (sizes + z.abs()) + (m + 1) * given.tiny
    bound += exact.gamma(m + 1) * sizes
    return compare(got.numpy(), z.numpy(), bound.numpy(), "T2")
