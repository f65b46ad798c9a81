"""Rotated angles in [-pi, pi), the turn of one row depending on the other; bad: wraps above
alone.
"""

import math

import torch
from torch import nn

SHAPE = (2, 3)
WHY = "Angles that fall below -pi are not brought back; they are off by 2 pi."
CAUSE = (
    r"wrap|period|circ|fmod|modul|turn|by (exactly )?(1\b|one|2 ?\*? ?pi|6\.28)"
    r"|off by|remainder"
)


def angles(batch, generator):
    unit = torch.rand((batch, *SHAPE), generator=generator, dtype=torch.float64)
    return math.pi * (2 * unit - 1)


KW = {"sample": angles}


class Rotate(nn.Module):
    def __init__(self):
        super().__init__()
        self.offset = nn.Parameter(torch.tensor([[0.9, -1.1, 0.4], [-0.7, 0.2, 1.3]]))
        self.strength = nn.Parameter(torch.tensor([0.8, -0.5, 0.6]))

    def wrap(self, angle):
        return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi

    def turn(self, top):
        return torch.stack([torch.zeros_like(top), self.strength * torch.sin(top)], 1)

    def forward(self, x):
        return self.wrap(x + self.turn(x[:, 0]) + self.offset), torch.zeros_like(x[:, 0, 0])

    def inverse(self, z):
        y = z - self.offset
        return self.wrap(y - self.turn(y[:, 0])), torch.zeros_like(z[:, 0, 0])


class RotateOneSided(Rotate):
    def wrap(self, angle):
        return torch.where(angle >= math.pi, angle - 2 * math.pi, angle)


def make_good():
    return Rotate()


def make_bad():
    return RotateOneSided()
