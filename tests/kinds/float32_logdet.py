"""A scaling of images by their first channel; bad: .sum(..., dtype=torch.float32) for the log-
det.
"""

import torch
from torch import nn

SHAPE = (3, 2, 4)
WHY = "The reduction is forced to single precision, so a float64 batch loses half its digits."
CAUSE = r"float32|dtype|single precision|rounded"


class Guided(nn.Module):
    accumulate = None

    def __init__(self):
        super().__init__()
        torch.manual_seed(60)
        self.guide = nn.Conv2d(1, 2, kernel_size=3, padding="same")

    def log_gain(self, first):
        return torch.atan(self.guide(first)) / 2

    def total(self, log_gain):
        return log_gain.flatten(start_dim=1).sum(dim=1, dtype=self.accumulate)

    def forward(self, x):
        first, rest = x[:, :1], x[:, 1:]
        log_gain = self.log_gain(first)
        return torch.cat([first, rest * log_gain.exp()], dim=1), self.total(log_gain)

    def inverse(self, z):
        first, rest = z[:, :1], z[:, 1:]
        log_gain = self.log_gain(first)
        return torch.cat([first, rest / log_gain.exp()], dim=1), self.total(-log_gain)


class GuidedSingle(Guided):
    accumulate = torch.float32


def make_good():
    return Guided()


def make_bad():
    return GuidedSingle()
