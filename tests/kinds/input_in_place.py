"""A coupling that writes the odd entries of a vector by index: of a copy, or of the caller's
tensor.
"""

import torch
import torch.nn as nn

SHAPE = (6,)
WHY = "Without the clone the result is written over the input."
CAUSE = r"in.?place|overwrit|chang\w+ (its|the) input|modif"
EVEN, ODD = [0, 2, 4], [1, 3, 5]


class OddCoupling(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 10), nn.GELU(), nn.Linear(10, 6))

    def target(self, value):
        return value.clone()

    def terms(self, value):
        t, s = self.net(value[:, EVEN]).split(3, dim=1)
        return t, torch.tanh(s)

    def forward(self, x):
        t, s = self.terms(x)
        z = self.target(x)
        z[:, ODD] = z[:, ODD] * s.exp() + t
        return z, s.sum(1)

    def inverse(self, z):
        t, s = self.terms(z)
        x = self.target(z)
        x[:, ODD] = (x[:, ODD] - t) * torch.exp(-s)
        return x, -s.sum(1)


class Overwriting(OddCoupling):
    def target(self, value):
        return value


def make_good():
    return OddCoupling()


def make_bad():
    return Overwriting()
