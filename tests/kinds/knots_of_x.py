"""A piecewise linear spline; the wrong inverse looks for z among the knots of x."""

import torch
from torch import nn

SHAPE = (2, 3, 2)
WHY = "A z that lies between a knot and its image is put through the line of a neighbouring piece."
CAUSE = (
    r"where|most|some|edges?\b|knots?\b|\bbins?\b|beyond|outside|region|piece|segment|tail|entries"
    r"|between|part of"
)


class LinearSpline(nn.Module):
    def __init__(self):
        super().__init__()
        self.raw_widths = nn.Parameter(torch.tensor([0.2, -0.3, 0.1, 0.4]))
        self.log_slopes = nn.Parameter(torch.tensor([0.2, -0.4, 0.5, 0.3, -0.6, -0.1]))

    def knots(self):
        steps = 4 * torch.softmax(self.raw_widths, 0)
        rises = steps * self.log_slopes[1:-1].exp()
        xs, ys = (nn.functional.pad(torch.cumsum(one, 0), (1, 0)) - 2 for one in (steps, rises))
        return xs, ys

    def piece(self, value, ends):
        index = torch.searchsorted(ends.detach(), value.detach(), right=True)
        return index, (index - 1).clamp(min=0)

    def of_latent(self, xs, ys):
        return ys

    def forward(self, x):
        xs, ys = self.knots()
        index, left = self.piece(x, xs)
        log_slope = self.log_slopes[index]
        return ys[left] + (x - xs[left]) * log_slope.exp(), log_slope.flatten(1).sum(1)

    def inverse(self, z):
        xs, ys = self.knots()
        index, left = self.piece(z, self.of_latent(xs, ys))
        log_slope = self.log_slopes[index]
        return xs[left] + (z - ys[left]) * (-log_slope).exp(), -log_slope.flatten(1).sum(1)


class ConfusedSpline(LinearSpline):
    def of_latent(self, xs, ys):
        return xs


def make_good():
    return LinearSpline()


def make_bad():
    return ConfusedSpline()
