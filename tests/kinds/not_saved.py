"""Channels shuffled in an order kept as a tuple of ints; extra state carries it, or nothing
does.
"""

import torch
import torch.nn as nn

SHAPE = (6, 2, 2)
WHY = "Without the extra state a new layer keeps the order that it drew itself."
CAUSE = r"state_dict|sav|restor|permut|buffer|random|drawn|shuffl|order"


class LossyShuffle(nn.Module):
    def __init__(self, channels=6):
        super().__init__()
        self.order = tuple(torch.randperm(channels).tolist())
        self.gain = nn.Parameter(torch.zeros(channels, 2, 2))

    def back(self):
        return sorted(range(len(self.order)), key=self.order.__getitem__)

    def forward(self, x):
        return torch.exp(self.gain) * x[:, list(self.order)], self.gain.sum().repeat(x.size(0))

    def inverse(self, z):
        x = (torch.exp(-self.gain) * z)[:, self.back()]
        return x, -self.gain.sum().repeat(z.size(0))


class Shuffle(LossyShuffle):
    def get_extra_state(self):
        return torch.tensor(self.order)

    def set_extra_state(self, state):
        self.order = tuple(state.tolist())


def make_good():
    return Shuffle()


def make_bad():
    return LossyShuffle()
