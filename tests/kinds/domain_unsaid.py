"""The inverse of softplus on images, checked without sample=: it takes positive numbers only."""

import torch
from torch import nn
from torch.nn import functional as F

SHAPE = (2, 2, 3)
WHY = "Nothing is wrong for x > 0, but half of all normal numbers are negative and give NaN."
CAUSE = r"domain|sample ?=|outside|interval|positive|\(0, (1|inf|oo)"


class Unsoftplus(nn.Module):
    """z = log(exp(x) - 1) = x + log(1 - exp(-x))."""

    def forward(self, x):
        tail = torch.log(-torch.expm1(-x))
        return x + tail, self.total(-tail)

    def inverse(self, z):
        return F.softplus(z), self.total(F.logsigmoid(z))

    def total(self, terms):
        return terms.sum((1, 2, 3))


def make_bad():
    return Unsoftplus()
