"""A layer that its factory trains for some steps; the wrong one forgets the shift."""

import torch
import torch.nn as nn

SHAPE = (3,)
WHY = "Building it needs gradients, whatever the caller has turned off."
CAUSE = r"shift"


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(3))
        self.shift = nn.Parameter(torch.zeros(3))

    def forward(self, x):
        return x * self.log_scale.exp() + self.shift, self.log_scale.sum().expand(len(x))

    def inverse(self, z):
        return (z - self.shift) * (-self.log_scale).exp(), -self.log_scale.sum().expand(len(z))


class Forgets(Scale):
    def inverse(self, z):
        return z * (-self.log_scale).exp(), -self.log_scale.sum().expand(len(z))


def trained(layer):
    data = 0.5 * torch.randn(64, 3, generator=torch.Generator().manual_seed(4)) + 1
    optimiser = torch.optim.SGD(layer.parameters(), 0.1)
    for _ in range(5):
        optimiser.zero_grad()
        z, logdet = layer(data)
        (0.5 * z.square().sum(1) - logdet).mean().backward()
        optimiser.step()
    return layer


def make_good():
    return trained(Scale())


def make_bad():
    return trained(Forgets())
