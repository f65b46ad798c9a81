"""A rotation of image channels, the exponential of a skew matrix; bad: formed in __init__ for
good.
"""

import torch
from torch import nn

SHAPE = (3, 2, 2)
WHY = "The stored rotation does not follow its generator, and deepcopy refuses a non-leaf tensor."
CAUSE = r"__init__|construct|computed once|derived|frozen|stale|\brotation\b"


def rotation_of(skew):
    return torch.linalg.matrix_exp(skew - skew.transpose(0, 1))


class Rotation(nn.Module):
    def __init__(self):
        super().__init__()
        g = torch.Generator().manual_seed(79)
        self.skew = nn.Parameter(torch.randn(3, 3, generator=g))

    def q(self):
        return rotation_of(self.skew)

    def forward(self, x):
        return torch.tensordot(x, self.q(), ([1], [1])).movedim(-1, 1), x.new_zeros(x.size(0))

    def inverse(self, z):
        return torch.tensordot(z, self.q(), ([1], [0])).movedim(-1, 1), z.new_zeros(z.size(0))


class RotationOnce(Rotation):
    def __init__(self):
        super().__init__()
        self.rotation = rotation_of(self.skew)

    def q(self):
        return self.rotation


def make_good():
    return Rotation()


def make_bad():
    return RotationOnce()
