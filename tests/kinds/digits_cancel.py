"""A quadratic map whose inverse takes the root by a formula in which digits cancel."""

import torch
import torch.nn as nn

SHAPE = (3,)
WHY = "(sqrt(b^2 + 4 a z) - b) / (2 a) loses all digits where a is small; 2 z / (b + sqrt) none."
CAUSE = r"cancel"


class Bent(nn.Module):
    """``z = a x |x| + b x`` with a of 1e-5 and b about 1."""

    def __init__(self):
        super().__init__()
        self.log_slope = nn.Parameter(torch.tensor([0.2, -0.1, 0.3]))
        self.bend = 1e-5

    def slope(self, x):
        return 2 * self.bend * x.abs() + self.log_slope.exp()

    def forward(self, x):
        return self.bend * x * x.abs() + self.log_slope.exp() * x, self.slope(x).log().sum(1)

    def root(self, z, b):
        return 2 * z / (b + torch.sqrt(b * b + 4 * self.bend * z))

    def inverse(self, z):
        x = z.sign() * self.root(z.abs(), self.log_slope.exp())
        return x, -self.slope(x).log().sum(1)


class Cancels(Bent):
    def root(self, z, b):
        return (torch.sqrt(b * b + 4 * self.bend * z) - b) / (2 * self.bend)


def make_good():
    return Bent()


def make_bad():
    return Cancels()
