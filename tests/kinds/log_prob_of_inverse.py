"""A flow whose forward makes data: ``log_prob`` adds the log-det of its inverse."""

import math

import torch
import torch.nn as nn

SHAPE = (3,)
WHY = "log q(x) = log N(z) + log|det dz/dx| for z = inverse(x); the wrong one subtracts."
CAUSE = r"log_prob.*subtracts"


class Flow(nn.Module):
    def __init__(self):
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor([0.5, -0.2, 0.3]))
        self.bend = nn.Parameter(torch.tensor([0.4, -0.3, 0.2]))

    def forward(self, z):
        scale = self.log_scale + self.bend * torch.tanh(z.roll(1, 1)) * self.mask(z)
        return z * scale.exp(), scale.sum(1)

    def mask(self, z):
        return torch.tensor([0.0, 1.0, 0.0]).to(z)

    def inverse(self, x):
        first = x * (-self.log_scale).exp()
        scale = self.log_scale + self.bend * torch.tanh(first.roll(1, 1)) * self.mask(x)
        return x * (-scale).exp(), -scale.sum(1)

    def log_prob(self, x):
        z, logdet = self.inverse(x)
        return -0.5 * (z * z + math.log(2 * math.pi)).sum(1) + self.share(logdet)

    def share(self, logdet):
        return logdet


class Subtracts(Flow):
    def share(self, logdet):
        return -logdet


def make_good():
    return Flow()


def make_bad():
    return Subtracts()
