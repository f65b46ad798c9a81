"""An autoregressive network (MADE) whose last mask lets every entry reach itself."""

import torch
import torch.nn as nn
import torch.nn.functional as F

SHAPE = (5,)
WHY = "Entry i of the output sees entry i of the input: `>=` between degrees where `>` is due."
CAUSE = r"mask|lets|sees|depends? on the entries"


class Autoregressive(nn.Module):
    """``z_i = (x_i - m_i(x_<i)) exp(-s_i(x_<i))``."""

    def __init__(self):
        super().__init__()
        degrees, hidden = torch.arange(5), torch.arange(16) % 4
        self.register_buffer("first", (hidden[:, None] >= degrees).float())
        self.register_buffer("last", self.reaches(degrees[:, None], hidden).float().repeat(2, 1))
        self.a = nn.Linear(5, 16)
        self.b = nn.Linear(16, 10)

    def reaches(self, out, hidden):
        return out > hidden

    def parts(self, x):
        h = torch.tanh(F.linear(x, self.a.weight * self.first, self.a.bias))
        shift, log_scale = F.linear(h, self.b.weight * self.last, self.b.bias).chunk(2, 1)
        return shift, torch.tanh(log_scale)

    def forward(self, x):
        shift, log_scale = self.parts(x)
        return (x - shift) * (-log_scale).exp(), -log_scale.sum(1)

    def inverse(self, z):
        x = torch.zeros_like(z)
        for _ in range(z.shape[1]):
            shift, log_scale = self.parts(x)
            x = z * log_scale.exp() + shift
        return x, self.parts(x)[1].sum(1)


class Loose(Autoregressive):
    def reaches(self, out, hidden):
        return out >= hidden


def make_good():
    return Autoregressive()


def make_bad():
    return Loose()
