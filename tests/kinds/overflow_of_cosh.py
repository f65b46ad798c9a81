"""A skewing map z = y + c log cosh(y) per channel, |c| < 0.9, with log cosh by its definition."""

import math

import torch
from torch import nn
from torch.nn.functional import softplus

SHAPE = (2, 2, 3)
WHY = "cosh(y) overflows at |y| = 89 in float32, where log cosh(y) is about |y| - log 2."
CAUSE = r"overflow|\binf|large|range|wide|exp\b|cosh|not finite|magnitude"


class LogCosh(nn.Module):
    def __init__(self, channels=2):
        super().__init__()
        self.raw = nn.Parameter(torch.linspace(0.8, -0.5, channels)[:, None, None])
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))

    def log_cosh(self, y):
        return y.abs() + softplus(-2 * y.abs()) - math.log(2.0)

    def f(self, y):
        return y + 0.9 * torch.tanh(self.raw) * self.log_cosh(y)

    def log_slope(self, y):
        return torch.log1p(0.9 * torch.tanh(self.raw) * torch.tanh(y))

    def newton(self, y, z):
        return y - (self.f(y) - z) * (-self.log_slope(y).detach()).exp()

    def forward(self, x):
        y = x + self.shift
        return self.f(y), self.log_slope(y).flatten(1).sum(1)

    def inverse(self, z):
        y = z.detach()
        with torch.no_grad():
            for _ in range(40):
                y = self.newton(y, z)
        y = self.newton(y, z)
        return y - self.shift, -self.log_slope(y).flatten(1).sum(1)


class NaiveLogCosh(LogCosh):
    def log_cosh(self, y):
        return torch.log(torch.cosh(y))


def make_good():
    return LogCosh()


def make_bad():
    return NaiveLogCosh()
