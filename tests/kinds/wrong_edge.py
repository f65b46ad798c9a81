"""A parabola for |x| < 1, its tangent beyond, on images; bad: the inverse changes piece at |z| =
1.
"""

import torch
from torch import nn

SHAPE = (2, 2, 3)
WHY = "The joint x = 1 is at z = 1 + a; latents between 1 and 1 + a go down the wrong branch."
CAUSE = r"where|most|some|edge|knot|beyond|outside|region|piece|tail|entries|between|part of"


class Parabola(nn.Module):
    def __init__(self):
        super().__init__()
        self.free = nn.Parameter(torch.tensor([0.3, -0.2]).view(-1, 1, 1))

    @property
    def a(self):
        return nn.functional.softplus(self.free) + 0.05

    def joint(self):
        return 1 + self.a

    def log_slope(self, x):
        return torch.log1p(2 * self.a * x.abs().clamp(max=1)).sum((1, 2, 3))

    def forward(self, x):
        a, size = self.a, x.abs()
        z = torch.where(size < 1, x + a * x * size, (1 + 2 * a) * x - a * x.sign())
        return z, self.log_slope(x)

    def inverse(self, z):
        a, size = self.a, z.abs()
        root = 2 * z / (1 + torch.sqrt(1 + 4 * a * size))
        x = torch.where(size < self.joint(), root, (z + a * z.sign()) / (1 + 2 * a))
        return x, -self.log_slope(x)


class ParabolaJoint(Parabola):
    def joint(self):
        return torch.ones_like(self.a)


def make_good():
    return Parabola()


def make_bad():
    return ParabolaJoint()
