"""Images scaled by what a context says; the wrong one counts the pixels that it was built for."""

import torch
import torch.nn as nn

SHAPE = (3, 4, 4)
KW = {"context": (2,)}
WHY = "At the size that it was built for all is right; a context must not keep others from a try."
CAUSE = r"pixels whatever the size|one size"


class Scale(nn.Module):
    def __init__(self, channels=3, height=4, width=4):
        super().__init__()
        self.net = nn.Linear(2, channels)
        self.built_for = height * width

    def pixels(self, x):
        return x.shape[2] * x.shape[3]

    def log_scale(self, context):
        return self.net(context).tanh()

    def forward(self, x, context):
        log_scale = self.log_scale(context)
        return x * log_scale.exp()[..., None, None], log_scale.sum(1) * self.pixels(x)

    def inverse(self, z, context):
        log_scale = self.log_scale(context)
        return z * (-log_scale).exp()[..., None, None], -log_scale.sum(1) * self.pixels(z)


class OfOneSize(Scale):
    def pixels(self, x):
        return self.built_for


def make_good():
    torch.manual_seed(0)
    return Scale()


def make_bad():
    torch.manual_seed(0)
    return OfOneSize()
