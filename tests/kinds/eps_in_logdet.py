"""A 2x2 matrix conditioned on three kept entries; bad: the log-det is log(|det A| + 1e-4)."""

import torch
from torch import nn

SHAPE = (5,)
WHY = "The small number guards the logarithm, but the map itself does not contain it."
CAUSE = r"eps|stabili|1e-0?4|0\.0001|9\.9+|1\.0+\d*e-0?4|(plus|adds?|\+) |added"


class MatrixCoupling(nn.Module):
    """y = A(k) m + t(k) with A = [[p, q], [r, r q / p + d]] and therefore det A = p d."""

    def __init__(self, guard=0.0):
        super().__init__()
        self.guard = guard
        self.trunk = nn.Linear(3, 10)
        self.head = nn.Linear(10, 6)

    def conditioner(self, k):
        p, q, r, d, t1, t2 = torch.sin(self.head(self.trunk(k).tanh())).unbind(-1)
        p, d = (p - 1).exp(), (d - 1).exp()
        rows = torch.stack([p, q, r, r * q / p + d], -1).unflatten(-1, (2, 2))
        return rows, torch.stack([t1, t2], -1)

    def volume(self, a):
        return torch.log(torch.linalg.det(a).abs() + self.guard)

    def forward(self, x):
        k, m = x.split([3, 2], dim=-1)
        a, t = self.conditioner(k)
        y = torch.einsum("bij,bj->bi", a, m) + t
        return torch.cat((k, y), -1), self.volume(a)

    def inverse(self, z):
        k, y = z.split([3, 2], dim=-1)
        a, t = self.conditioner(k)
        m = torch.einsum("bij,bj->bi", torch.linalg.inv(a), y - t)
        return torch.cat((k, m), -1), -self.volume(a)


def make_good():
    torch.manual_seed(50)
    return MatrixCoupling()


def make_bad():
    torch.manual_seed(50)
    return MatrixCoupling(guard=1e-4)
