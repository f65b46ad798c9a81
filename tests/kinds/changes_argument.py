"""A coupling built from a dict of settings; bad: the constructor pops what it reads from the
dict.
"""

import torch
from torch import nn

SHAPE = (3, 2)
WHY = "The caller's settings are used up: building a second layer raises KeyError."
CAUSE = (
    r"second (call|time|layer)|worked once|chang\w+ (its|the|something"
    r"|what|an) |used up|twice|again"
)

SETTINGS = {"hidden": 7, "bound": 0.9}
SAME = {"hidden": 7, "bound": 0.9}


class RowCoupling(nn.Module):
    """The first row of a (3, 2) matrix rules the two others."""

    def __init__(self, settings):
        super().__init__()
        settings = self.mine(settings)
        hidden = settings.pop("hidden")
        self.bound = settings.pop("bound")
        if settings:
            raise ValueError(f"unknown settings: {sorted(settings)}")
        self.net = nn.Sequential(nn.Linear(2, hidden), nn.Tanh(), nn.Linear(hidden, 8))

    def mine(self, settings):
        return dict(settings)

    def terms(self, row):
        t, s = self.net(row).unflatten(1, (2, 2, 2)).unbind(1)
        return t, self.bound * torch.sin(s)

    def forward(self, x):
        t, s = self.terms(x[:, 0])
        return torch.cat([x[:, :1], x[:, 1:] * s.exp() + t], 1), s.sum((1, 2))

    def inverse(self, z):
        t, s = self.terms(z[:, 0])
        return torch.cat([z[:, :1], (z[:, 1:] - t) * (-s).exp()], 1), -s.sum((1, 2))


class GreedyRowCoupling(RowCoupling):
    def mine(self, settings):
        return settings


def make_good():
    return RowCoupling(SETTINGS)


def make_bad():
    return GreedyRowCoupling(SAME)
