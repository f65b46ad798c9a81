"""Images through the Gudermannian gd(y) = 2 atan(tanh(y / 2)), which saturates at +-pi/2."""

import math

import torch
import torch.nn as nn

SHAPE = (2, 3, 2)
WHY = "gd'(y) = sech(y), whose logarithm is written so that it stays finite."


def log_sech(y):
    a = torch.abs(y)
    return math.log(2.0) - a - torch.log1p(torch.exp(-2.0 * a))


class Gudermann(nn.Module):
    def __init__(self, channels=2, steepness=2.5):
        super().__init__()
        start = torch.full((1, channels, 1, 1), math.log(steepness))
        self.log_steep = nn.Parameter(start)
        self.offset = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def log_derivative(self, y):
        return (log_sech(y) + self.log_steep).flatten(1).sum(dim=-1)

    def forward(self, x):
        y = torch.exp(self.log_steep) * x + self.offset
        return 2 * torch.atan(torch.tanh(y / 2)), self.log_derivative(y)

    def inverse(self, z):
        y = 2 * torch.atanh(torch.tan(z / 2))
        return (y - self.offset) / torch.exp(self.log_steep), -self.log_derivative(y)


def make_good():
    return Gudermann()
