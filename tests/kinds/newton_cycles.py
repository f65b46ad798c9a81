"""z = a x + tanh(b x) with b much larger than a; the inverse runs Newton's method until it fits."""

import math

import torch
from torch import nn

SHAPE = (2, 2)
KW = {"time_limit": 0.7}
WHY = "Started in the flat part, Newton's steps jump from one side to the other for ever."
CAUSE = r"\btime\b|time.?(limit|out)|hang|\bends?\b|stop|converge|iterat|newton|cycle|loop"


class SteepStep(nn.Module):
    def __init__(self):
        super().__init__()
        self.log_a = nn.Parameter(torch.full((2, 2), math.log(0.1)))
        self.log_b = nn.Parameter(torch.full((2, 2), math.log(3.0)))

    def f(self, x):
        return self.log_a.exp() * x + torch.tanh(self.log_b.exp() * x)

    def slope(self, x):
        b = self.log_b.exp()
        return self.log_a.exp() + b * (1 - torch.tanh(b * x).square())

    def solve(self, z):
        a = self.log_a.exp()
        low, high = (z - 1) / a, (z + 1) / a
        for _ in range(90):
            middle = (low + high) / 2
            above = self.f(middle) > z
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        return (low + high) / 2

    def forward(self, x):
        return self.f(x), self.slope(x).log().sum((1, 2))

    def inverse(self, z):
        with torch.no_grad():
            x = self.solve(z)
        x = x - (self.f(x) - z) / self.slope(x).detach()
        return x, -self.slope(x).log().sum((1, 2))


class NewtonStep(SteepStep):
    def solve(self, z):
        x = z / self.log_a.exp()
        tolerance = 64 * torch.finfo(z.dtype).eps * (1 + z.abs())
        while True:
            error = self.f(x) - z
            if not (error.abs() > tolerance).any():
                return x
            x = x - error / self.slope(x)


def make_good():
    return SteepStep()


def make_bad():
    return NewtonStep()
