"""Shift and scale are a linear function of zero context features: its weight has no entries."""

import torch
import torch.nn as nn
import torch.nn.functional as F

SHAPE = (2, 3)
WHY = "A weight of shape (12, 0) adds nothing and is not dead; the bias does all the work."


class ContextAffine(nn.Module):
    def __init__(self, features=6, context=0):
        super().__init__()
        self.context = context
        self.weight = nn.Parameter(torch.randn(2 * features, context))
        self.bias = nn.Parameter(torch.full((2 * features,), 0.1))

    def shift_and_log_scale(self, like):
        nothing = like.new_zeros(like.size(0), self.context)
        both = F.linear(nothing, self.weight, self.bias)
        return both.view(-1, 2, *SHAPE).unbind(1)

    def forward(self, x):
        shift, log_scale = self.shift_and_log_scale(x)
        return torch.addcmul(shift, x, log_scale.exp()), log_scale.sum((1, 2))

    def inverse(self, z):
        shift, log_scale = self.shift_and_log_scale(z)
        return (z - shift) / log_scale.exp(), -log_scale.sum((1, 2))


def make_good():
    return ContextAffine()
