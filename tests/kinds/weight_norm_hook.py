"""An autoregressive step of two blocks; the hook of weight_norm (dim=None) sits on both linears."""

import warnings

import torch
import torch.nn as nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.nn.utils import weight_norm

SHAPE = (5,)
WHY = "The hook recomputes the weight from a scalar g and v before every call of the linear."


def normed(n_in, n_out):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return weight_norm(nn.Linear(n_in, n_out), name="weight", dim=None)


class Step(nn.Module):
    def __init__(self, split=3):
        super().__init__()
        self.split = split
        self.hidden = normed(split, 7)
        self.out = normed(7, 2 * (5 - split))

    def conditioner(self, a):
        raw = self.out(torch.sin(self.hidden(a)))
        m, s = raw.tensor_split(2, dim=-1)
        return m, s.atan()

    def forward(self, x):
        a, b = x[:, : self.split], x[:, self.split :]
        m, s = self.conditioner(a)
        return torch.hstack((a, (b - m) / s.exp())), -s.sum(-1)

    def inverse(self, z):
        a, b = z[:, : self.split], z[:, self.split :]
        m, s = self.conditioner(a)
        return torch.hstack((a, b * s.exp() + m)), s.sum(-1)


def make_good():
    return Step()
