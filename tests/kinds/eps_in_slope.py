"""A smooth leaky ramp on images, a x + b (x + sqrt(x^2 + 1)); bad: log(slope + 1e-4)."""

import torch
from torch import nn

SHAPE = (2, 3, 3)
WHY = "The derivative is the slope alone; the 1e-4 inside the logarithm is no part of it."
CAUSE = r"eps|stabili|1e-0?4|0\.0001|9\.9+|1\.0+\d*e-0?4|(plus|adds?|\+) |added"


class SmoothRamp(nn.Module):
    def __init__(self, channels=2):
        super().__init__()
        self.leak_logit = nn.Parameter(torch.linspace(-1.6, -1.2, channels).view(-1, 1, 1))

    def coefficients(self):
        a = torch.sigmoid(self.leak_logit)
        return a, (1 - a) / 2

    def log_slope(self, slope):
        return torch.log(slope)

    def ladj(self, x):
        a, b = self.coefficients()
        slope = a + b * (1 + x * torch.rsqrt(x * x + 1))
        return self.log_slope(slope).flatten(1).sum(-1)

    def forward(self, x):
        a, b = self.coefficients()
        return a * x + b * (x + torch.sqrt(x * x + 1)), self.ladj(x)

    def inverse(self, y):
        a, b = self.coefficients()
        x = ((a + b) * y - b * torch.sqrt(y * y + a)) / a
        return x, -self.ladj(x)


class GuardedRamp(SmoothRamp):
    def log_slope(self, slope):
        return torch.log(slope + 1e-4)


def make_good():
    return SmoothRamp()


def make_bad():
    return GuardedRamp()
