"""Softplus as a map: torch's own is the identity above 20, where sigmoid is not yet 1."""

import torch
import torch.nn as nn
import torch.nn.functional as F

SHAPE = (4,)
WHY = "In float64 1 - sigmoid(20) is 2e-9, a million times the rounding; float32 does not see it."
CAUSE = r"softplus"


class Softplus(nn.Module):
    """``z = log(1 + exp(x)) + exp(a) x``, inverted by Newton's iteration."""

    def __init__(self):
        super().__init__()
        self.log_slope = nn.Parameter(torch.tensor([0.1, -0.3, 0.2, 0.0]))

    def softplus(self, x):
        return torch.logaddexp(x, torch.zeros_like(x))

    def slope(self, x):
        return self.log_slope.exp() + torch.sigmoid(x)

    def forward(self, x):
        return self.softplus(x) + self.log_slope.exp() * x, self.slope(x).log().sum(1)

    def inverse(self, z):
        x = torch.where(z > 0, z / (1 + self.log_slope.exp()), z / self.log_slope.exp())
        for _ in range(50):
            x = x - (self.softplus(x) + self.log_slope.exp() * x - z) / self.slope(x)
        return x, -self.slope(x).log().sum(1)


class WithThreshold(Softplus):
    def softplus(self, x):
        return F.softplus(x)


def make_good():
    return Softplus()


def make_bad():
    return WithThreshold()
