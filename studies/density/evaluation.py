"""Bits per dimension of held-out images."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from emcheck._internal.randomness import stream
from emcheck.flows import Glow
from emcheck.oracle.precision import Array
from studies.density.regions import Data, dequantise

#: Patches of one pass.
PASS = 128

#: Draws of the noise in the importance-weighted bound.
DRAWS = 16


@torch.no_grad()
def evaluate(flow: Glow, values: Array, bins: int, role: str, number: int = 0) -> Tensor:
    """Bits per dimension ``(N,)`` of whole numbers, with the noise of ``(role, number)``."""
    x = dequantise(values, bins, stream("noise", role, number))
    device = flow.top.scale.device
    parts = [flow.bits_per_dim(part.to(device), bins) for part in x.split(PASS)]
    return torch.cat(parts).double().cpu()


def held_out_bits(flow: Glow, data: Data) -> tuple[Tensor, Tensor]:
    """Bits per dimension of the test patches: the usual bound, and a tighter one.

    With noise ``U_k``, ``log P(v) >= E log (1/K) sum_k p(v + U_k)``: ``K = 1`` is the usual
    bound, and it grows with K.

    Reference: Burda, Grosse, Salakhutdinov, Importance Weighted Autoencoders, 2015,
    arXiv 1509.00519; Hoogeboom, Cohen, Tomczak, Learning Discrete Distributions by
    Dequantization, 2020, arXiv 2001.11235.
    """
    draws = torch.stack([evaluate(flow, data.test, data.bins, "test", k) for k in range(DRAWS)])
    n = math.prod(data.shape)
    nats = draws * (-n * math.log(2))
    weighted = -(torch.logsumexp(nats, dim=0) - math.log(DRAWS)) / (n * math.log(2))
    return draws[0], weighted
