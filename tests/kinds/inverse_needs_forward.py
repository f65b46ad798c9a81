"""A leaky rectifier on images; bad: its inverse looks up which inputs of forward were negative."""

import torch
from torch import nn

SHAPE = (2, 3, 2)
WHY = "Without a forward call there is no mask, and after one it belongs to other data."
CAUSE = (
    r"(without|before|last|earlier|previous|needs?|of) (a |the |its )?forward"
    r"|left behind|forward (left|must|has)|first call|state|attribute|\bmask\b"
)


class Leaky(nn.Module):
    def __init__(self):
        super().__init__()
        self.log_leak = nn.Parameter(torch.tensor([-0.8, 0.5])[:, None, None])

    def negative(self, z):
        return z < 0

    def remember(self, mask):
        return mask

    def forward(self, x):
        mask = self.remember(x < 0)
        s = mask.to(x.dtype) * self.log_leak
        return x * s.exp(), s.sum((1, 2, 3))

    def inverse(self, z):
        s = self.negative(z).to(z.dtype) * self.log_leak
        return z / s.exp(), -s.sum((1, 2, 3))


class LeakyWithMemory(Leaky):
    def remember(self, mask):
        self.mask = mask
        return mask

    def negative(self, z):
        return self.mask


def make_good():
    return Leaky()


def make_bad():
    return LeakyWithMemory()
