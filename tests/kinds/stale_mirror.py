"""A positive gain for each image channel; bad: 1 / gain is worked out when the layer is built."""

import torch
from torch import nn

SHAPE = (3, 2, 2)
WHY = "The reciprocal does not follow the gain when the optimiser moves it."
CAUSE = (
    r"stale|mirror|buffer|refresh|updat|out of date|construct|computed once|cache|inverted"
    r"|reciprocal"
)


class Gain(nn.Module):
    def __init__(self):
        super().__init__()
        self.free = nn.Parameter(torch.tensor([0.4, -0.9, 1.3]))
        with torch.no_grad():
            self.register_buffer("reciprocal", self.gain().reciprocal())

    def gain(self):
        return 0.2 + nn.functional.softplus(self.free).reshape(3, 1, 1)

    def undo(self):
        return self.gain().reciprocal()

    def log_jacobian(self, x):
        return self.gain().log().expand_as(x).sum((-3, -2, -1))

    def forward(self, x):
        return self.gain() * x, self.log_jacobian(x)

    def inverse(self, y):
        return self.undo() * y, -self.log_jacobian(y)


class GainOnce(Gain):
    def undo(self):
        return self.reciprocal


def make_good():
    return Gain()


def make_bad():
    return GainOnce()
