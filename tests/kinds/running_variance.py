"""Batch normalisation that multiplies by the variance, in its inverse, for the deviation."""

import torch
import torch.nn as nn

SHAPE = (4,)
WHY = "A running variance of 1, as built, hides it: the layer has to be judged after training."
CAUSE = r"scale twice"


class Norm(nn.Module):
    """The batch's statistics in training mode, running ones in evaluation mode."""

    def __init__(self):
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(4))
        self.register_buffer("running_var", torch.ones(4))

    def statistics(self, x):
        if not self.training:
            return self.running_mean, self.running_var
        mean, var = x.mean(0), x.var(0) + 1e-5
        self.running_mean.lerp_(mean.detach(), 0.2)
        self.running_var.lerp_(var.detach(), 0.2)
        return mean, var

    def forward(self, x):
        mean, var = self.statistics(x)
        return (x - mean) / var.sqrt(), (-0.5 * var.log().sum()).expand(len(x))

    def deviation(self):
        return self.running_var.sqrt()

    def inverse(self, z):
        if self.training:
            raise RuntimeError("only in evaluation mode")
        logdet = 0.5 * self.running_var.log().sum()
        return z * self.deviation() + self.running_mean, logdet.expand(len(z))


class Unrooted(Norm):
    def deviation(self):
        return self.running_var


def make_good():
    return Norm()


def make_bad():
    return Unrooted()


FAILS_OK = ("rows_are_independent",)
