"""z = x + k softplus(x) on images; wrongly undone by x <- z - k softplus(x) until that settles."""

import math

import torch
import torch.nn as nn

SHAPE = (1, 2, 2)
KW = {"time_limit": 2.0}
WHY = "For k > 1 and positive roots the repetition jumps to and fro for ever."
CAUSE = r"time|hang|ends?\b|stop|converge|iterat|settle|loop"


def soft(x):
    return torch.logaddexp(x, torch.zeros_like(x))


class SoftplusResidual(nn.Module):
    def __init__(self):
        super().__init__()
        self.third_log_k = nn.Parameter(torch.full((2, 2), -0.06))

    k = property(lambda self: torch.exp(3 * self.third_log_k))

    def log_slope(self, x):
        return torch.log1p(self.k * torch.sigmoid(x)).sum(dim=(1, 2, 3))

    def find(self, z):
        lower = z - self.k * math.log(2.0)
        a, b = (torch.minimum(v, v / (1 + self.k)) for v in (lower, z))
        for _ in range(75):
            m = a + (b - a) / 2
            high = m + self.k * soft(m) > z
            a, b = torch.where(high, a, m), torch.where(high, m, b)
        return a + (b - a) / 2

    def forward(self, x):
        return x + self.k * soft(x), self.log_slope(x)

    def inverse(self, z):
        x = self.find(z.detach()).detach()
        # one Newton step, which carries the gradient too
        x = x - (x + self.k * soft(x) - z) / (1 + self.k.detach() * torch.sigmoid(x))
        return x, -self.log_slope(x)


class Picard(SoftplusResidual):
    def find(self, z):
        old, x, tolerance = z + 1, z, 20 * torch.finfo(z.dtype).eps * (1 + z.abs())
        while bool(((old - x).abs() > tolerance).any()):
            old, x = x, z - self.k.detach() * soft(x)
        return x


def make_good():
    return SoftplusResidual()


def make_bad():
    return Picard()
