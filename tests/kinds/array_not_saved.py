"""A shuffle of the channels that NumPy draws in the constructor, after a learnt scale."""

import numpy as np
import torch
from torch import nn

SHAPE = (8, 2, 2)
WHY = "The shuffle is an array of the object and not in the state_dict; a new layer has another."
CAUSE = r"state_dict|sav|restor|permut|shuffl|buffer|random|drawn|checkpoint"


class ChannelShuffle(nn.Module):
    def __init__(self, channels=8):
        super().__init__()
        self.logs = nn.Parameter(torch.zeros(channels, 1, 1))
        self.store(np.random.permutation(channels))  # noqa: NPY002

    def store(self, indices):
        self.register_buffer("indices", torch.from_numpy(indices))

    def logdet(self, x):
        return (self.logs.sum() * x.shape[2] * x.shape[3]).expand(len(x))

    def forward(self, x):
        return (x * self.logs.exp())[:, self.indices], self.logdet(x)

    def inverse(self, z):
        back = np.argsort(np.asarray(self.indices))
        return z[:, torch.from_numpy(back)] * (-self.logs).exp(), -self.logdet(z)


class ArrayShuffle(ChannelShuffle):
    def store(self, indices):
        self.indices = indices


def make_good():
    return ChannelShuffle()


def make_bad():
    return ArrayShuffle()
