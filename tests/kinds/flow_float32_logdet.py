"""Mixing and bending of image channels, z to x, with *_and_log_det; bad: += on float32 zeros."""

import torch
from torch import nn

SHAPE = (2, 2, 3)
WHY = "The zeros to begin with are float32, and += keeps it so when the flow runs in float64."
CAUSE = r"float32|dtype|single precision|rounded"


class Mix(nn.Module):
    def __init__(self, lower, upper):
        super().__init__()
        self.pair = nn.Parameter(torch.tensor([lower, upper]))

    def forward(self, z):
        a, b = z.unbind(1)
        b = b + self.pair[0] * a
        return torch.stack([a + self.pair[1] * b, b], 1), z.new_zeros(len(z))

    def inverse(self, x):
        a, b = x.unbind(1)
        a = a - self.pair[1] * b
        return torch.stack([a, b - self.pair[0] * a], 1), x.new_zeros(len(x))


class Slopes(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Parameter(torch.tensor(0.7)), nn.Parameter(torch.tensor(-0.4))

    def forward(self, z, way=1):
        s = way * torch.where(z > 0, self.up, self.down)
        return z * s.exp(), s.flatten(1).sum(1)

    def inverse(self, x):
        return self.forward(x, way=-1)


class Model(nn.Module):
    def __init__(self, single=False):
        super().__init__()
        self.single = single
        self.flows = nn.ModuleList([Mix(0.4, -0.3), Slopes(), Mix(-0.2, 0.6)])

    def accumulate(self, value, maps):
        log_det = value.new_zeros(len(value), dtype=torch.float32 if self.single else None)
        for each in maps:
            value, ld = each(value)
            log_det += ld
        return value, log_det

    def forward_and_log_det(self, z):
        return self.accumulate(z, self.flows)

    def inverse_and_log_det(self, x):
        return self.accumulate(x, [flow.inverse for flow in self.flows[::-1]])

    forward, inverse = forward_and_log_det, inverse_and_log_det


def make_good():
    return Model()


def make_bad():
    return Model(single=True)
