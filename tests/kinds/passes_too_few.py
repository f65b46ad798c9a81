"""An autoregressive inverse that makes one pass less than there are entries."""

import torch
import torch.nn as nn

SHAPE = (4,)
WHY = "After k passes the first k entries are right; the last one is computed from a wrong one."
CAUSE = r"(inverse|iteration).*(3|last|part|early)"


class Recursion(nn.Module):
    """``z_i = x_i exp(s_i) + sum_(j<i) a_ij tanh(x_j)``."""

    passes = 4

    def __init__(self):
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor([0.1, -0.2, 0.3, 0.0]))
        self.raw = nn.Parameter(torch.randn(4, 4, generator=torch.Generator().manual_seed(5)))

    def shift(self, x):
        return torch.tanh(x) @ self.raw.tril(-1).T

    def forward(self, x):
        return x * self.log_scale.exp() + self.shift(x), self.log_scale.sum().expand(len(x))

    def inverse(self, z):
        x = torch.zeros_like(z)
        for _ in range(self.passes):
            x = (z - self.shift(x)) * (-self.log_scale).exp()
        return x, -self.log_scale.sum().expand(len(z))


class Short(Recursion):
    passes = 3


def make_good():
    return Recursion()


def make_bad():
    return Short()
