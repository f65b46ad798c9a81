"""A lower triangular map whose inverse returns x alone; bad: the last diagonal entry isn't
counted.
"""

import torch
from torch import nn

SHAPE = (5,)
KW = {"capabilities": {"inverse_logdet": False}}
WHY = "The log-det of forward ends one entry of the diagonal too early."
CAUSE = r"lacks|first|last|entry|term|missing|entries"


class Triangle(nn.Module):
    def __init__(self, stop=None):
        super().__init__()
        self.stop = stop
        g = torch.Generator().manual_seed(73)
        self.free = nn.Parameter(0.4 * torch.randn(5, 5, generator=g))
        self.logs = nn.Parameter(torch.tensor([0.2, -0.4, 0.1, 0.3, -0.6]))

    @property
    def factor(self):
        return torch.tril(self.free, -1) + self.logs.exp().diag()

    def forward(self, x):
        z = torch.einsum("ij,bj->bi", self.factor, x)
        return z, self.logs[: self.stop].sum().repeat(x.size(0))

    def inverse(self, z):
        return torch.linalg.solve_triangular(self.factor, z[..., None], upper=False)[..., 0]


def make_good():
    return Triangle()


def make_bad():
    return Triangle(stop=-1)
