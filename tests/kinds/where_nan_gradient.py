"""A ramp that turns into 2 sqrt(y) - 1 above y = 1, by torch.where; y starts near x + 4."""

import torch
import torch.nn as nn

SHAPE = (2, 2, 2)
WHY = "For y < 0 the root that is not chosen is NaN; times a gradient of 0 it still is."
CAUSE = r"nan"


class RootRamp(nn.Module):
    def __init__(self):
        super().__init__()
        self.lift = nn.Parameter(torch.full((2, 1, 1), 4.0))
        self.log_pace = nn.Parameter(torch.zeros(2, 1, 1))

    @staticmethod
    def radicand(y):
        return torch.where(y > 1, y, torch.ones_like(y))

    def logdet(self, y):
        log_root = 0.5 * torch.log(y.clamp(min=1.0))
        return (self.log_pace - log_root).sum(dim=(1, 2, 3))

    def forward(self, x):
        y = x * self.log_pace.exp() + self.lift
        z = torch.where(y > 1, 2 * torch.sqrt(self.radicand(y)) - 1, y)
        return z, self.logdet(y)

    def inverse(self, z):
        y = torch.where(z > 1, ((z + 1) / 2).square(), z)
        return (y - self.lift) / self.log_pace.exp(), -self.logdet(y)


class BareRoot(RootRamp):
    @staticmethod
    def radicand(y):
        return y


def make_good():
    return RootRamp()


def make_bad():
    return BareRoot()
