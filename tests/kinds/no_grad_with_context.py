"""A conditional layer whose inverse has no graph: nothing is promised about its gradient."""

import torch
import torch.nn as nn

SHAPE = (3,)
KW = {"context": (2,)}
WHY = "The context keeps a graph of its own, which is none of the inverse; the shift is added."
CAUSE = r"shift"


class Conditional(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(2, 6)

    def parts(self, context):
        log_scale, shift = self.net(context).chunk(2, 1)
        return torch.tanh(log_scale), shift

    def forward(self, x, context):
        log_scale, shift = self.parts(context)
        return x * log_scale.exp() + shift, log_scale.sum(1)

    @torch.no_grad()
    def inverse(self, z, context):
        log_scale, shift = self.parts(context)
        return (z - self.sign * shift) * (-log_scale).exp(), -log_scale.sum(1)

    sign = 1


class Adds(Conditional):
    sign = -1


def make_good():
    return Conditional()


def make_bad():
    return Adds()
