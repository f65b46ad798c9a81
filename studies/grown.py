"""Weights as large as after training, where the time of a layer depends on them."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from emcheck.layers import ExponentialConv2d
from emcheck.layers.exponential import norm_bound

#: Norm of the weights of a convolution exponential after training: 2.1 to 3.1 in a flow of depth
#: 4 after 487 steps. It starts below 1, and takes one series for each unit.
NORM = 2.5

Module = TypeVar("Module", bound=nn.Module)


@torch.no_grad()
def grown(module: Module) -> Module:
    """Give every convolution exponential in a module weights of the norm after training."""
    generator = torch.Generator().manual_seed(0)
    for part in module.modules():
        if isinstance(part, ExponentialConv2d):
            value = torch.randn(part.weight.shape, generator=generator)
            part.weight.copy_(value * (NORM / norm_bound(value)))
    return module
