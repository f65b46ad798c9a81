"""The number of pixels is kept from call to call; the wrong one keeps that of the first call."""

import torch
import torch.nn as nn

SHAPE = (2, 4, 4)
WHY = "A fresh layer is right at any size; the one that has seen another size is not."
CAUSE = r"size of the first call|other sizes"


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor([0.3, -0.2]))
        self.known = {}

    def pixels(self, x):
        key = tuple(x.shape[2:])
        return self.known.setdefault(key, key[0] * key[1])

    def logdet(self, x):
        return (self.log_scale.sum() * self.pixels(x)).expand(len(x))

    def forward(self, x):
        return x * self.log_scale.exp()[:, None, None], self.logdet(x)

    def inverse(self, z):
        return z * (-self.log_scale).exp()[:, None, None], -self.logdet(z)


class ScaleOfFirstSize(Scale):
    def pixels(self, x):
        return self.known.setdefault("pixels", x.shape[2] * x.shape[3])


def make_good():
    return Scale()


def make_bad():
    return ScaleOfFirstSize()
