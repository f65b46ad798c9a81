"""What a mixing can reach: the dimension of its kernels, and the pixels that it sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from emcheck._internal.randomness import stream
from emcheck.flows.mixing import MIXINGS
from emcheck.oracle.precision import Array
from emcheck.specs import Trait, spec_for
from emcheck.specs.parameter_styles import move_parameters
from studies.density.cell import live_parameters

#: Channels and side of the image. The side is odd, so that a pixel lies in the middle, and larger
#: than any kernel that is composed of two.
CHANNELS, SIDE = 4, 7

#: A singular value below this share of the largest one is rounding.
RANK = 1e-9

#: An entry of a Jacobian below this share of the largest one is rounding.
SEEN = 1e-10


@dataclass(frozen=True)
class Reach:
    """What a mixing can reach.

    Args:
        parameters: trainable numbers, without those that a mask leaves out.
        dimension: of the set of its responses to the channels of one pixel, near a typical
            point; None for a map that is not affine, which has no kernel.
        seen: pixels that one output pixel depends on.
        seen_by_inverse: the same of the inverse.
    """

    parameters: int
    dimension: int | None
    seen: int
    seen_by_inverse: int


def reach(mixing: str) -> Reach:
    """Measure a mixing of ``CHANNELS`` channels, at parameters like those after training."""
    event = CHANNELS, SIDE, SIDE
    layers = [layer.double() for layer in MIXINGS[mixing](event, partial(stream, "reach", mixing))]
    for n, layer in enumerate(layers):
        move_parameters(layer, "trained", stream("moved", mixing, n))
    linear = all(Trait.LINEAR in spec_for(type(layer)).traits for layer in layers)  # type: ignore[arg-type]
    parameters = [p for layer in layers for p in layer.parameters() if p.requires_grad]
    forward, inverse = _way(layers, "forward"), _way(layers[::-1], "inverse")
    middle = torch.zeros(1, *event, dtype=torch.float64)
    x = torch.randn(middle.shape, generator=stream("point", mixing), dtype=torch.float64)
    return Reach(
        parameters=live_parameters(nn.ModuleList(layers)),
        dimension=_dimension(forward, parameters) if linear else None,
        seen=_seen(forward, x),
        seen_by_inverse=_seen(inverse, forward(x).detach()),
    )


def _way(layers: list[nn.Module], direction: str) -> Callable[[Tensor], Tensor]:
    def way(x: Tensor) -> Tensor:
        for layer in layers:
            x = getattr(layer, direction)(x)[0]
        return x

    return way


def _dimension(forward: Callable[[Tensor], Tensor], parameters: list[nn.Parameter]) -> int:
    """Return the rank of the derivative of the response to the channels of the middle pixel."""
    basis = torch.zeros(CHANNELS, CHANNELS, SIDE, SIDE, dtype=torch.float64)
    basis[range(CHANNELS), range(CHANNELS), SIDE // 2, SIDE // 2] = 1.0
    response = (forward(basis) - forward(torch.zeros_like(basis))).flatten()
    rows = torch.eye(len(response), dtype=torch.float64)
    found = torch.autograd.grad(
        response, parameters, rows, is_grads_batched=True, allow_unused=True
    )
    whole = torch.cat([g.flatten(1) for g in found if g is not None], dim=1)
    singular = np.linalg.svd(whole.numpy(), compute_uv=False)
    return int((singular > RANK * singular.max()).sum())


def _seen(way: Callable[[Tensor], Tensor], x: Tensor) -> int:
    """Return how many pixels the middle pixel of the output depends on."""
    x = x.clone().requires_grad_()
    middle = way(x)[0, :, SIDE // 2, SIDE // 2]
    entries: Array = np.stack(
        [torch.autograd.grad(value, x, retain_graph=True)[0][0].abs().numpy() for value in middle]
    )
    strongest = entries.max(axis=(0, 1))
    return int((strongest > SEEN * strongest.max()).sum())
