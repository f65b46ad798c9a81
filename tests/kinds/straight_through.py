"""A coupling with a clipped log-scale; the wrong one passes the gradient on as if it were not."""

import torch
import torch.nn as nn

SHAPE = (4,)
WHY = "Values are those of a clipped log-scale, gradients those of one that is not."
CAUSE = r"detach"


class Coupling(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(2, 4)

    def clip(self, value):
        return value.clamp(-0.4, 0.3)

    def terms(self, head):
        shift, raw = self.net(head).chunk(2, 1)
        return shift, self.clip(raw)

    def forward(self, x):
        head, tail = x.chunk(2, 1)
        shift, log_scale = self.terms(head)
        return torch.cat([head, tail * log_scale.exp() + shift], 1), log_scale.sum(1)

    def inverse(self, z):
        head, tail = z.chunk(2, 1)
        shift, log_scale = self.terms(head)
        return torch.cat([head, (tail - shift) * (-log_scale).exp()], 1), -log_scale.sum(1)


class StraightThrough(Coupling):
    def clip(self, value):
        return value + (super().clip(value) - value).detach()


def make_good():
    torch.manual_seed(0)
    return Coupling()


def make_bad():
    torch.manual_seed(0)
    return StraightThrough()
