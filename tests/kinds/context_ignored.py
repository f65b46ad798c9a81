"""A conditional scale and shift whose inverse leaves the context out."""

import torch.nn as nn

SHAPE = (3,)
KW = {"context": (2,)}
WHY = "The inverse is that of the context 0, whatever the context is."
CAUSE = r"context"


class Conditional(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 6))

    def forward(self, x, context):
        log_scale, shift = self.net(context).chunk(2, 1)
        return x * log_scale.exp() + shift, log_scale.sum(1)

    def inverse(self, z, context):
        log_scale, shift = self.net(self.seen(context)).chunk(2, 1)
        return (z - shift) * (-log_scale).exp(), -log_scale.sum(1)

    def seen(self, context):
        return context


class Ignores(Conditional):
    def seen(self, context):
        return 0 * context


def make_good():
    return Conditional()


def make_bad():
    return Ignores()
