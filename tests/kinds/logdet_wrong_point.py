"""z = x + a x / (1 + |x|) on images; bad: the inverse's log-det takes the derivative at z."""

import torch
from torch import nn

SHAPE = (2, 2, 3)
WHY = "f' belongs to the preimage x; inserting z gives another number."
CAUSE = r"at z|wrong (point|place|argument)|instead of (at )?x|evaluat|at the latent|point"


class SoftKick(nn.Module):
    def __init__(self):
        super().__init__()
        self.kick = nn.Parameter(torch.tensor([[1.5], [0.5]])[..., None])

    def a(self):
        return torch.log1p(self.kick.square()) + 0.2

    def log_derivative(self, t):
        return torch.log1p(self.a() / (1 + t.abs()) ** 2).sum((1, 2, 3))

    def solve(self, z):
        size = z.abs()
        t = size - 1 - self.a()
        size = (t + (t * t + 4 * size).sqrt()) / 2
        return z / (1 + self.a() / (1 + size))

    def forward(self, x):
        return x + self.a() * nn.functional.softsign(x), self.log_derivative(x)

    def inverse(self, z):
        x = self.solve(z)
        return x, -self.log_derivative(x)


class SoftKickAtLatent(SoftKick):
    def inverse(self, z):
        return self.solve(z), -self.log_derivative(z)


def make_good():
    return SoftKick()


def make_bad():
    return SoftKickAtLatent()
