"""Gains in the cosine basis of each row; bad: the basis is built from torch.arange(n).float()."""

import math

import torch
from torch import nn

SHAPE = (2, 5)
WHY = "The basis is single precision whatever comes in; a float64 batch cannot be multiplied by it."
CAUSE = r"float32|\.float\(\)|dtype|float != double|cast"


class CosineGain(nn.Module):
    def __init__(self, n=5):
        super().__init__()
        self.n = n
        self.log_gain = nn.Parameter(torch.linspace(-0.5, 0.6, n))

    def grid(self, like):
        return torch.arange(self.n, dtype=like.dtype, device=like.device)

    def basis(self, like):
        k = self.grid(like)
        table = torch.cos(math.pi / self.n * torch.outer(k, k + 0.5)) * math.sqrt(2 / self.n)
        return torch.cat([table[:1] / math.sqrt(2), table[1:]])

    def ladj(self, x):
        return x.new_ones(x.shape[0]) * (x.shape[1] * self.log_gain.sum())

    def forward(self, x):
        c = self.basis(x)
        return (x @ c.T * self.log_gain.exp()) @ c, self.ladj(x)

    def inverse(self, z):
        c = self.basis(z)
        return (z @ c.T / self.log_gain.exp()) @ c, -self.ladj(z)


class SingleCosineGain(CosineGain):
    def grid(self, like):
        return torch.arange(self.n, device=like.device).float()


def make_good():
    return CosineGain()


def make_bad():
    return SingleCosineGain()
