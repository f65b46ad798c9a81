"""A layer that answers with a dataclass of value and log-det."""

from dataclasses import dataclass

import torch
import torch.nn as nn

SHAPE = (3,)
WHY = "The log-det counts the scale twice."
CAUSE = r"twice|factor|too often|2 "


@dataclass
class Answer:
    value: torch.Tensor
    log_det: torch.Tensor


class Scale(nn.Module):
    count = 1

    def __init__(self):
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor([0.1, -0.4, 0.3]))

    def forward(self, x):
        logdet = self.count * self.log_scale.sum()
        return Answer(x * self.log_scale.exp(), logdet.expand(len(x)))

    def inverse(self, z):
        logdet = -self.count * self.log_scale.sum()
        return Answer(z * (-self.log_scale).exp(), logdet.expand(len(z)))


class Twice(Scale):
    count = 2


def make_good():
    return Scale()


def make_bad():
    return Twice()
