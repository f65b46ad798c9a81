"""Images divided by a moving average of their magnitude; the wrong layer averages live tensors."""

import torch
import torch.nn as nn

SHAPE = (2, 3, 3)
WHY = "The average of log magnitudes drags the graphs of all former batches along."
CAUSE = r"graph|detach|backward"
FAILS_OK = ("rows_are_independent",)


class MagnitudeNorm(nn.Module):
    keep_graph = False
    decay = 0.8

    def __init__(self, channels=2):
        super().__init__()
        self.log_w = nn.Parameter(torch.zeros(channels, 1, 1))
        self.b = nn.Parameter(torch.zeros(channels, 1, 1))
        self.register_buffer("level", torch.zeros(channels, 1, 1))

    def observe(self, y):
        with torch.set_grad_enabled(self.keep_graph and torch.is_grad_enabled()):
            magnitude = y.abs().mean(dim=(0, 2, 3)).view_as(self.level)
            self.level = torch.lerp(torch.log(magnitude + 1e-2), self.level, self.decay)

    def total(self, x):
        both = (self.log_w - self.level).expand(x.shape[1:])
        return both.sum().expand(x.shape[0])

    def forward(self, x):
        y = x * self.log_w.exp()
        if self.training and x.shape[0] >= 2:
            self.observe(y)
        return y * torch.exp(-self.level) + self.b, self.total(x)

    def inverse(self, z):
        return (z - self.b) * torch.exp(self.level - self.log_w), -self.total(z)


class LiveNorm(MagnitudeNorm):
    keep_graph = True


def make_good():
    return MagnitudeNorm()


def make_bad():
    return LiveNorm()
