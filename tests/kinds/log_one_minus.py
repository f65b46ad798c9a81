"""A tanh squashing (as of actions); the wrong log-det is log(1 - z^2), -inf from y = 9 in
float32.
"""

import math

import torch
import torch.nn as nn

SHAPE = (5,)
WHY = "1 - tanh(y)^2 rounds to 0 where its logarithm is about log 4 - 2 |y|."
CAUSE = r"\binf|underflow|1 - |cancel|satura|wide|large|range|not finite"


class Squash(nn.Module):
    exact = True

    def __init__(self):
        super().__init__()
        self.centre = nn.Parameter(torch.zeros(5))
        self.log_temperature = nn.Parameter(torch.full((5,), 0.1))

    def log_jacobian(self, y, z):
        if self.exact:
            a = y.abs()
            each = math.log(4.0) - 2 * a - 2 * torch.log1p(torch.exp(-2 * a))
        else:
            each = torch.log(1 - z**2)
        return torch.sum(each - self.log_temperature, dim=1)

    def forward(self, x):
        y = (x - self.centre) * torch.exp(-self.log_temperature)
        z = y.tanh()
        return z, self.log_jacobian(y, z)

    def inverse(self, z):
        y = z.atanh()
        x = y * torch.exp(self.log_temperature) + self.centre
        return x, -self.log_jacobian(y, z)


def make_good():
    return Squash()


def make_bad():
    layer = Squash()
    layer.exact = False
    return layer
