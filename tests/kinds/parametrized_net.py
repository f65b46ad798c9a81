"""An image coupling whose convolution has a home-made parametrization of weight and bias."""

import torch
import torch.nn as nn
from torch.nn.utils import parametrize

SHAPE = (2, 3, 3)
WHY = "register_parametrization only changes how the weight is computed; the coupling is exact."


class Bounded(nn.Module):
    def __init__(self, limit):
        super().__init__()
        self.limit = limit

    def forward(self, raw):
        return self.limit * torch.tanh(raw / self.limit)


class Checkerboard(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, kernel_size=3, padding=1)
        parametrize.register_parametrization(self.conv, "weight", Bounded(1.5))
        parametrize.register_parametrization(self.conv, "bias", Bounded(0.5))
        rows, columns = torch.meshgrid(torch.arange(3), torch.arange(3), indexing="ij")
        self.register_buffer("black", ((rows + columns) % 2).float())

    def terms(self, value):
        t, s = self.conv(value * self.black).chunk(2, dim=1)
        white = 1 - self.black
        return t * white, torch.tanh(s) * white

    def forward(self, x):
        t, s = self.terms(x)
        return (x + t) * torch.exp(s), s.sum([1, 2, 3])

    def inverse(self, z):
        t, s = self.terms(z)
        return z * torch.exp(-s) - t, -s.sum([1, 2, 3])


def make_good():
    return Checkerboard()
