"""Softmax scales of channels; the buffer holds the peak that is subtracted, written by each
call.
"""

import math

import torch
import torch.nn as nn

SHAPE = (3, 2, 2)
WHY = "The peak is rewritten before it is read, and it cancels out of the result."


class SoftmaxScale(nn.Module):
    def __init__(self, channels=3):
        super().__init__()
        self.energy = nn.Parameter(torch.linspace(-0.5, 0.5, channels))
        self.register_buffer("peak", torch.full((1,), -7.0), persistent=False)

    def log_scale(self):
        self.peak.copy_(self.energy.detach().max())
        lowered = self.energy - self.peak
        log_sum = torch.log(torch.exp(lowered).sum())
        return (lowered - log_sum + math.log(len(self.energy))).reshape(1, -1, 1, 1)

    def forward(self, x):
        ls = self.log_scale()
        return x * torch.exp(ls), ls.expand_as(x).flatten(1).sum(1)

    def inverse(self, z):
        ls = self.log_scale()
        return z * torch.exp(-ls), -ls.expand_as(z).flatten(1).sum(1)


def make_good():
    return SoftmaxScale()
