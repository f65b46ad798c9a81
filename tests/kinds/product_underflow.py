"""A triangular matrix of 128 rows that shrinks; bad: log of torch.linalg.det, zero in float32."""

import torch
from torch import nn

SHAPE = (128,)
WHY = "The determinant is about exp(-128), below the smallest float32; its log is -inf."
CAUSE = r"underflow|product|\binf|range|overflow|leaves|float32|\bdet(erminant)?\b"


class Shrink(nn.Module):
    def __init__(self, n=128):
        super().__init__()
        g = torch.Generator().manual_seed(54)
        self.below = nn.Parameter(torch.randn(n, n, generator=g))
        self.level = nn.Parameter(-1 + 0.1 * torch.randn(n, generator=g))
        self.register_buffer("ones", torch.eye(n))

    def weight(self):
        lower = self.ones + torch.tanh(self.below).tril(-1) / len(self.level)
        return lower * self.level.exp()

    def log_volume(self):
        return self.level.sum()

    def forward(self, x):
        return nn.functional.linear(x, self.weight()), self.log_volume().repeat(x.shape[0])

    def inverse(self, z):
        x = torch.linalg.solve_triangular(self.weight(), z.unsqueeze(-1), upper=False)
        return x.squeeze(-1), (-self.log_volume()).repeat(z.shape[0])


class ShrinkByDet(Shrink):
    def log_volume(self):
        return torch.log(torch.abs(torch.linalg.det(self.weight())))


def make_good():
    return Shrink()


def make_bad():
    return ShrinkByDet()
