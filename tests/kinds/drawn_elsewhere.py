"""A permutation that NumPy draws: once, or at every call."""

import numpy as np
import torch
import torch.nn as nn

SHAPE = (4,)
WHY = "Seeds of torch do not reach NumPy's generator, so no two calls agree."
CAUSE = r"random"


class Drawn(nn.Module):
    def __init__(self):
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor([0.1, -0.2, 0.3, -0.4]))
        self.register_buffer("order", torch.from_numpy(np.random.RandomState(3).permutation(4)))

    def chosen(self):
        return self.order

    def forward(self, x):
        return (x * self.log_scale.exp())[:, self.chosen()], self.log_scale.sum().expand(len(x))

    def inverse(self, z):
        x = z[:, torch.argsort(self.chosen())] * (-self.log_scale).exp()
        return x, -self.log_scale.sum().expand(len(z))


class Redrawn(Drawn):
    def chosen(self):
        return torch.from_numpy(np.random.permutation(4))  # noqa: NPY002 - as people write it


def make_good():
    return Drawn()


def make_bad():
    return Redrawn()
