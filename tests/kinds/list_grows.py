"""A coupling whose network comes from a list of hidden sizes, which the constructor completes."""

import itertools

import torch
from torch import nn

SHAPE = (4,)
KW = {"examples": 1}
WHY = "The list of the caller grows: a second layer from the same list has a deeper network."
CAUSE = (
    r"second (call|time|layer|one)|worked once|chang\w+ (its|the|something|what|an) |used up"
    r"|twice|again|two (calls|layers)|(another|differ\w*) (layer|architecture|param|name|key|set)"
    r"|\bgrows|do(es)? not (load|fit|match)|unexpected key|missing key"
)

HIDDEN = [6]
OTHER = [6]


class Coupling(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        sizes = self.complete(hidden)
        layers = []
        for before, after in itertools.pairwise(sizes):
            layers += [nn.Linear(before, after), nn.Tanh()]
        self.net = nn.Sequential(*layers[:-1])

    def complete(self, hidden):
        return [2, *hidden, 4]

    def forward(self, x):
        a, b = x.chunk(2, 1)
        s, t = self.net(a).chunk(2, 1)
        s = torch.tanh(s)
        return torch.cat([a, b * s.exp() + t], 1), s.sum(1)

    def inverse(self, z):
        a, b = z.chunk(2, 1)
        s, t = self.net(a).chunk(2, 1)
        s = torch.tanh(s)
        return torch.cat([a, (b - t) * (-s).exp()], 1), -s.sum(1)


class GreedyCoupling(Coupling):
    def complete(self, hidden):
        hidden.insert(0, 2)
        hidden.append(4)
        return hidden


def make_good():
    return Coupling(HIDDEN)


def make_bad():
    return GreedyCoupling(OTHER)
