"""Large tensors, part by part, so that no second tensor of their size is made."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

#: Numbers in a part; a smaller tensor is one part.
PART = 2**17


def parts(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield the same entries of tensors of one shape as views; all at once if few or strided."""
    whole = tensors[0].numel() <= PART or not all(t.is_contiguous() for t in tensors)
    if whole:
        yield tensors
    else:
        yield from zip(*(tensor.view(-1).split(PART) for tensor in tensors), strict=True)


def normal_parts(tensor: Tensor, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the parts of ``tensor``, each with standard normal numbers, float64 on the CPU.

    Random numbers cost more than everything else that is done with a large tensor: its parts share
    the numbers of one, rotated by a random shift. Neighbouring rows of a matrix stay independent.
    """
    drawn: Tensor | None = None
    for (part,) in parts(tensor):
        if drawn is None:
            drawn = torch.randn(part.shape, generator=generator, dtype=torch.float64)
            yield part, drawn
        else:
            shift = int(torch.randint(PART, (), generator=generator))
            yield part, drawn.roll(shift)[: len(part)]


def root_mean_square(tensor: Tensor) -> float:
    """Return ``sqrt(mean(t^2))``, summed in float64; 0 without entries."""
    if not tensor.numel():
        return 0.0
    total = sum(float(part.double().square().sum()) for (part,) in parts(tensor.detach()))
    return math.sqrt(total / tensor.numel())


def norm(*tensors: Tensor) -> float:
    """Return ``sqrt(sum t^2)`` over all tensors, summed in float64."""
    return math.sqrt(sum(dot(tensor, tensor) for tensor in tensors))


def dot(a: Tensor, b: Tensor) -> float:
    """Return ``sum(a b)`` in float64."""
    return sum(float((x.double() * y.double()).sum()) for x, y in parts(a, b))
