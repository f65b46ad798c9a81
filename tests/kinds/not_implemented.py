"""x plus a sum of three rising tanh curves on images; its inverse raises NotImplementedError."""

import torch
from torch import nn

SHAPE = (2, 2, 2)
ASIS = True
WHY = "Right without an inverse, or with a derivative that leaves out the inner factor."
CAUSE = r"forward|log-?det"


class RisingCurves(nn.Module):
    chain_rule = True

    def __init__(self, curves=3):
        super().__init__()
        g = torch.Generator().manual_seed(68)
        self.height = nn.Parameter(torch.randn(curves, generator=g) / 2)
        self.steepness = nn.Parameter(torch.randn(curves, generator=g) / 2)
        self.place = nn.Parameter(torch.randn(curves, generator=g))

    def forward(self, x):
        k = self.steepness.exp()
        t = torch.tanh(k * (x[..., None] - self.place))
        height = self.height.exp()
        inner = height * k if self.chain_rule else height
        rise = (inner * (1 - t.square())).sum(-1)
        return x + (height * t).sum(-1), rise.log1p().flatten(1).sum(1)

    def inverse(self, y):
        raise NotImplementedError


class NoChainRule(RisingCurves):
    chain_rule = False


def make_good():
    return RisingCurves()


def make_bad():
    return NoChainRule()
