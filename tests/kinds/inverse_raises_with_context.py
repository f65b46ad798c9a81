"""A conditional layer whose inverse has a misspelt name in it."""

import torch.nn as nn

SHAPE = (3,)
KW = {"context": (2,)}
WHY = "Forward is right, and the inverse raises whatever it is given."
CAUSE = r"AttributeError|raises"


class Conditional(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(2, 3)

    def forward(self, x, context):
        shift = self.net(context)
        return x + shift, x.new_zeros(len(x))

    def inverse(self, z, context):
        return z - self.net(context), z.new_zeros(len(z))


class Misspelt(Conditional):
    def inverse(self, z, context):
        return z - self.nett(context), z.new_zeros(len(z))


def make_good():
    return Conditional()


def make_bad():
    return Misspelt()
