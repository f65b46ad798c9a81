"""y + c atan(y) on images, undone by bisection under no_grad: right values without a graph."""

import math

import torch
import torch.nn as nn

SHAPE = (2, 2, 2)
WHY = "The root is exact to the last bit, but no gradient flows from z to x through the search."


class AtanResidual(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.3, -0.4]).reshape(2, 1, 1))
        self.log_scale = nn.Parameter(torch.zeros(2, 1, 1))

    @property
    def c(self):
        return 0.9 * torch.tanh(self.weight)

    def log_slope(self, y):
        return (torch.log1p(self.c / (1 + y * y)) + self.log_scale).sum(dim=(1, 2, 3))

    @torch.no_grad()
    def root(self, z):
        reach = self.c.abs() * math.pi / 2 + 1e-3
        left, right = z - reach, z + reach
        for _ in range(70):
            y = 0.5 * (left + right)
            too_big = y + self.c * torch.atan(y) > z
            right = torch.where(too_big, y, right)
            left = torch.where(too_big, left, y)
        return 0.5 * (left + right)

    def forward(self, x):
        y = self.log_scale.exp() * x
        return y + self.c * torch.atan(y), self.log_slope(y)

    def inverse(self, z):
        y = self.root(z)
        return y / self.log_scale.exp(), -self.log_slope(y)


def make_good():
    return AtanResidual()
