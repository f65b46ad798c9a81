"""z = x + a sin x on images, |a| < 0.6; bad: log(1 + a cos x) by four terms of its series."""

import torch
from torch import nn

SHAPE = (2, 3, 2)
WHY = "u - u^2/2 + u^3/3 - u^4/4 is not log(1 + u) when u reaches 0.5."
CAUSE = r"series|approximat|cut|truncat|terms|not exact|inexact"


class Ripple(nn.Module):
    def __init__(self):
        super().__init__()
        self.raw = nn.Parameter(torch.tensor([1.5, -1.2]).view(2, 1, 1))

    @property
    def a(self):
        return 0.6 * torch.tanh(self.raw)

    def log1p(self, u):
        return torch.log1p(u)

    def ladj(self, x):
        return self.log1p(self.a * torch.cos(x)).sum(dim=(1, 2, 3))

    def forward(self, x):
        return x + self.a * torch.sin(x), self.ladj(x)

    def inverse(self, z):
        a = self.a
        with torch.no_grad():
            guess = z.clone()
            for _ in range(75):
                guess = z - a * torch.sin(guess)
        residual = guess + a * torch.sin(guess) - z
        x = guess - residual / (1 + a * torch.cos(guess))
        return x, -self.ladj(x)


class TaylorRipple(Ripple):
    def log1p(self, u):
        return u * (1 - u * (1 / 2 - u * (1 / 3 - u / 4)))


def make_good():
    return Ripple()


def make_bad():
    return TaylorRipple()
