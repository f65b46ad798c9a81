"""A Cauchy distribution function per entry of a small matrix: bounded, with heavy tails."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

SHAPE = (2, 4)
WHY = "The slope of the arc tangent is 1 / (1 + y^2), and the log-det says so."


class CauchyCDF(nn.Module):
    def __init__(self, shape=SHAPE):
        super().__init__()
        self.location = nn.Parameter(torch.zeros(shape))
        self.raw_width = nn.Parameter(torch.ones(shape))

    @property
    def width(self):
        return F.softplus(self.raw_width)

    def _log_density(self, y):
        dense = -math.log(math.pi) - torch.log1p(y * y) - torch.log(self.width)
        return dense.sum(dim=(-2, -1))

    def forward(self, x):
        y = (x - self.location) / self.width
        return torch.atan(y) / math.pi, self._log_density(y)

    def inverse(self, z):
        y = torch.tan(math.pi * z)
        return self.location + self.width * y, -self._log_density(y)


def make_good():
    return CauchyCDF()
