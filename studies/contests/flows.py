"""Whole flows side by side: a training step and sampling, mixing against mixing."""

from __future__ import annotations

from collections.abc import Callable

import torch

from emcheck.flows import Glow
from emcheck.flows.mixing import MIXINGS
from studies.contests.layers import Contest

#: The size at which the emerging flow must cost at most 1.3 times the 1x1 flow.
SHAPE, LEVELS, DEPTH, WIDTH, BATCH = (3, 16, 16), 2, 4, 64, 64

#: A step is long, starts hundreds of small operations and varies by a tenth from one to the next:
#: the median of five varies by half of that, which is as much as what is measured.
ROUNDS = 21


def training_steps(device: str = "cpu") -> Contest:
    """Loss, gradients and one step of Adamax, the batch drawn before."""
    calls = {name: _step(_flow(name, device), device) for name in MIXINGS}
    return Contest("training step", BATCH, SHAPE, calls, ROUNDS, device)


def sampling(device: str = "cpu") -> Contest:
    """A batch of images from the prior, latents drawn in the call."""
    calls = {name: _draw(_flow(name, device)) for name in MIXINGS}
    return Contest("sampling", BATCH, SHAPE, calls, ROUNDS, device)


def _images() -> torch.Tensor:
    return torch.rand(BATCH, *SHAPE, generator=torch.Generator().manual_seed(0))


def _flow(mixing: str, device: str) -> Glow:
    flow = Glow(SHAPE, LEVELS, DEPTH, mixing, WIDTH, seed=0)
    flow.initialize(_images())
    return flow.to(device)


def _step(flow: Glow, device: str) -> Callable[[], object]:
    x = _images().to(device)
    optimiser = torch.optim.Adamax(flow.parameters(), lr=1e-3, foreach=True)

    def step() -> None:
        with torch.enable_grad():
            optimiser.zero_grad(set_to_none=True)
            flow.bits_per_dim(x).mean().backward()
            optimiser.step()

    return step


def _draw(flow: Glow) -> Callable[[], object]:
    return lambda: flow.sample(BATCH, torch.Generator().manual_seed(1))
