"""z = y + log(1 + e^y), stable; the wrong layer takes its sigmoid as exp(y) / (1 + exp(y))."""

import math

import torch
import torch.nn as nn

SHAPE = (2, 3)
WHY = "For y above 88 in float32 the quotient is inf / inf, where the sigmoid is just 1."
CAUSE = r"overflow|\binf|large|range|wide|exp\b|not finite|nan"


def log1p_exp(y):
    return torch.logaddexp(torch.zeros_like(y), y)


class Lean(nn.Module):
    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(3))
        self.log_gain = nn.Parameter(torch.zeros(2, 1))

    def gate(self, y):
        return torch.sigmoid(y)

    def logdet(self, y):
        return (torch.log1p(self.gate(y)) + self.log_gain).flatten(start_dim=1).sum(dim=1)

    def forward(self, x):
        y = self.log_gain.exp() * x + self.bias
        return y + log1p_exp(y), self.logdet(y)

    def inverse(self, z):
        # e^2y + e^y = e^z is a quadratic equation in e^y
        half_log = log1p_exp(z + math.log(4.0)) / 2
        y = z + math.log(2.0) - log1p_exp(half_log)
        return (y - self.bias) / self.log_gain.exp(), -self.logdet(y)


class LeanByHand(Lean):
    def gate(self, y):
        e = torch.exp(y)
        return e / (1 + e)


def make_good():
    return Lean()


def make_bad():
    return LeanByHand()
