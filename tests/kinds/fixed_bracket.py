"""A cubic a x + b x^3 with a, b > 0, undone by bisection; the wrong one searches [-8, 8] only."""

import torch
import torch.nn as nn
import torch.nn.functional as F

SHAPE = (2, 2)
WHY = "Whatever was larger than 8 comes back as 8."
CAUSE = r"bracket|interval|clip|clamp|\b8\b|bound|outside|wide|large"


def bisect(function, target, low, high, steps=90):
    for _ in range(steps):
        middle = 0.5 * low + 0.5 * high
        below = function(middle) <= target
        low = torch.where(below, middle, low)
        high = torch.where(below, high, middle)
    return 0.5 * low + 0.5 * high


class Cubic(nn.Module):
    reach = None

    def __init__(self):
        super().__init__()
        self.log_a = nn.Parameter(torch.zeros(2, 2))
        self.raw_b = nn.Parameter(torch.full((2, 2), -2.0))

    def value(self, x):
        return self.log_a.exp() * x + F.softplus(self.raw_b) * x**3

    def slope(self, x):
        return self.log_a.exp() + 3 * F.softplus(self.raw_b) * x**2

    def forward(self, x):
        return self.value(x), self.slope(x).log().flatten(1).sum(1)

    def inverse(self, z):
        with torch.no_grad():
            size = z.abs() / self.log_a.exp()
            if self.reach is not None:
                size = torch.full_like(z, self.reach)
            x = bisect(self.value, z, -size, size)
            slope = self.slope(x)
        # the implicit function theorem: value unchanged, gradients as of the true inverse
        x = x + ((z - z.detach()) - (self.value(x) - self.value(x).detach())) / slope
        return x, -self.slope(x).log().flatten(1).sum(1)


class ShortReach(Cubic):
    reach = 8.0


def make_good():
    return Cubic()


def make_bad():
    return ShortReach()
