"""A radial flow in the plane with beta > -alpha, or with beta > -1, which is enough for alpha =
1.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

SHAPE = (2,)
KW = {"capabilities": {"inverse": False}}
WHY = "With beta < -alpha the plane is folded over: the determinant changes its sign on a ring."
CAUSE = r"sign|fold|inject|invertib|one.to.one|orientation"


class Radial(nn.Module):
    def __init__(self, floor_is_alpha=True):
        super().__init__()
        self.floor_is_alpha = floor_is_alpha
        self.z0 = nn.Parameter(torch.zeros(2))
        self.log_alpha = nn.Parameter(torch.tensor([-1.6]))
        self.raw_beta = nn.Parameter(torch.tensor([-3.0]))

    def forward(self, x):
        alpha = torch.exp(self.log_alpha)
        floor = alpha if self.floor_is_alpha else torch.ones_like(alpha)
        beta = F.softplus(self.raw_beta) - floor
        delta = x - self.z0
        r = torch.linalg.vector_norm(delta, dim=1)
        h = 1 / (alpha + r)
        across = 1 + beta * h
        along = 1 + beta * alpha * h**2
        return x + (beta * h)[:, None] * delta, across.abs().log() + along.abs().log()


def make_good():
    return Radial()


def make_bad():
    return Radial(floor_is_alpha=False)
