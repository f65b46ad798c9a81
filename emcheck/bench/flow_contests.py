"""Whole flows side by side: a training step and sampling, mixing against mixing."""

from __future__ import annotations

from collections.abc import Callable

import torch

from emcheck.bench.contests import Contest
from emcheck.flows import Glow
from emcheck.flows.mixing import MIXINGS

#: The size at which the emerging flow must cost at most 1.3 times the 1x1 flow.
SHAPE, LEVELS, DEPTH, WIDTH, BATCH = (3, 16, 16), 2, 4, 64, 64


def training_steps() -> Contest:
    """Loss, gradients and one step of Adamax, the batch drawn before."""
    return Contest("training step", BATCH, SHAPE, {name: _step(_flow(name)) for name in MIXINGS})


def sampling() -> Contest:
    """A batch of images from the prior, latents drawn in the call."""
    return Contest("sampling", BATCH, SHAPE, {name: _draw(_flow(name)) for name in MIXINGS})


def _images() -> torch.Tensor:
    return torch.rand(BATCH, *SHAPE, generator=torch.Generator().manual_seed(0))


def _flow(mixing: str) -> Glow:
    flow = Glow(SHAPE, LEVELS, DEPTH, mixing, WIDTH, seed=0)
    flow.initialize(_images())
    return flow


def _step(flow: Glow) -> Callable[[], object]:
    x, optimiser = _images(), torch.optim.Adamax(flow.parameters(), lr=1e-3, foreach=True)

    def step() -> None:
        with torch.enable_grad():
            optimiser.zero_grad(set_to_none=True)
            flow.bits_per_dim(x).mean().backward()
            optimiser.step()

    return step


def _draw(flow: Glow) -> Callable[[], object]:
    return lambda: flow.sample(BATCH, torch.Generator().manual_seed(1))
