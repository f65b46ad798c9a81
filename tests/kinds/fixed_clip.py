"""Softplus to the positive numbers; the wrong inverse lifts its argument to at least 1e-6 first."""

import torch
import torch.nn as nn
import torch.nn.functional as F

SHAPE = (2, 2, 2)
WHY = "softplus(-20) = 2e-9 is an ordinary number in both dtypes, but it comes back as -13.8."
CAUSE = r"clip|clamp|1e-0?6|13\.8|bound|floor"


class Positive(nn.Module):
    floor = None

    def __init__(self):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(2, 1, 1))
        self.log_rate = nn.Parameter(torch.zeros(2, 1, 1))

    def _ladj(self, y):
        return torch.sum(F.logsigmoid(y) + self.log_rate, dim=(1, 2, 3))

    def forward(self, x):
        y = x * self.log_rate.exp() - self.loc
        return torch.logaddexp(y, y.new_zeros(())), self._ladj(y)

    def inverse(self, z):
        if self.floor is not None:
            z = torch.clamp(z, min=self.floor)
        y = z + torch.log(-torch.expm1(-z))
        return (y + self.loc) / self.log_rate.exp(), -self._ladj(y)


class Floored(Positive):
    floor = 1e-6


def make_good():
    return Positive()


def make_bad():
    return Floored()
