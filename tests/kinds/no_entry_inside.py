"""A Moebius bend of [-2.5, 2.5], identity beyond, computed on the masked entries alone."""

import torch
import torch.nn as nn

SHAPE = (2, 2)
WHY = "The range check takes the minimum of the entries inside, of which there may be none."
CAUSE = r"tail|empty|no entry|none|inside|wide|large|raise|crash|(min|max)\(\)|numel|outside"


class MoebiusBend(nn.Module):
    def __init__(self, edge=2.5, check_always=False):
        super().__init__()
        self.edge, self.check_always = edge, check_always
        self.log_a = nn.Parameter(torch.tensor([[0.5, -0.3], [0.8, 0.2]]))

    def bend(self, entries, log_a):
        """On the entries inside: u -> a u / (1 + (a - 1) u), with u in (0, 1)."""
        checked = self.check_always or entries.numel() > 0
        if checked and (entries.min() < -self.edge or entries.max() > self.edge):
            raise ValueError("entries out of range")
        u = (entries + self.edge) / (2 * self.edge)
        below = 1 + torch.expm1(log_a) * u
        bent = self.edge * (2 * log_a.exp() * u / below - 1)
        return bent, log_a - 2 * torch.log(below)

    def transform(self, value, log_a):
        mask = (value > -self.edge) & (value < self.edge)
        bent, logs = self.bend(value[mask], log_a.expand_as(value)[mask])
        result = value.masked_scatter(mask, bent)
        logdet = torch.zeros_like(value).masked_scatter(mask, logs)
        return result, logdet.sum((1, 2))

    def forward(self, x):
        return self.transform(x, self.log_a)

    def inverse(self, z):
        return self.transform(z, -self.log_a)


def make_good():
    return MoebiusBend()


def make_bad():
    return MoebiusBend(check_always=True)
