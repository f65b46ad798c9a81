"""A call that draws from a generator which the layer keeps."""

import torch
import torch.nn as nn

SHAPE = (3,)
WHY = "Global seeds do not reset it: the same call gives something else each time."
CAUSE = r"differ|draws|random"


class Still(nn.Module):
    noise = 0.0

    def __init__(self):
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor([0.2, 0.0, -0.3]))
        self.generator = torch.Generator().manual_seed(2)

    def shift(self, x):
        drawn = torch.rand(x.shape[1], generator=self.generator)
        return self.noise * drawn.to(x)

    def forward(self, x):
        return x * self.log_scale.exp() + self.shift(x), self.log_scale.sum().expand(len(x))

    def inverse(self, z):
        x = (z - self.shift(z)) * (-self.log_scale).exp()
        return x, -self.log_scale.sum().expand(len(z))


class Noisy(Still):
    noise = 0.5


def make_good():
    return Still()


def make_bad():
    return Noisy()
