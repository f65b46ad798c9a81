"""A coupling that finds the axis to sum by its length, which a batch of 2 has as well."""

import torch
import torch.nn as nn

SHAPE = (3,)
WHY = "For two samples the sum keeps its total, like that of a (B, B): the means tell no cause."
CAUSE = r"axis|length"


class Coupling(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(1, 4)

    def total(self, log_scale):
        return log_scale.sum(1)

    def parts(self, data):
        shift, raw = self.net(data[:, :1]).chunk(2, 1)
        return data[:, :1], data[:, 1:], shift, raw.tanh()

    def forward(self, x):
        head, tail, shift, log_scale = self.parts(x)
        return torch.cat([head, tail * log_scale.exp() + shift], 1), self.total(log_scale)

    def inverse(self, z):
        head, tail, shift, log_scale = self.parts(z)
        return torch.cat([head, (tail - shift) * (-log_scale).exp()], 1), -self.total(log_scale)


class MatchingAxis(Coupling):
    def total(self, log_scale):
        return log_scale.sum(list(log_scale.shape).index(2))


def make_good():
    torch.manual_seed(0)
    return Coupling()


def make_bad():
    torch.manual_seed(0)
    return MatchingAxis()
