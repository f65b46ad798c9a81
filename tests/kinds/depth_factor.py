"""A gain and an offset for each channel of a video (C, T, H, W); bad: T is not counted."""

import torch
from torch import nn

SHAPE = (2, 3, 2, 2)
WHY = "Every channel's gain acts on T H W entries; the layer was taken over from images."
CAUSE = r"depth|\bD\b|\bT\b|factor|D H W|T H W|voxel|frame|time"


class VideoNorm(nn.Module):
    axes = (-3, -2, -1)

    def __init__(self, channels=2):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor([0.8, -0.3]).reshape(1, channels, 1, 1, 1))
        self.offset = nn.Parameter(torch.ones(1, channels, 1, 1, 1))

    def scale(self):
        return nn.functional.softplus(self.gain) + 0.1

    def ladj(self, x):
        count = 1
        for axis in self.axes:
            count *= x.size(axis)
        return (count * self.scale().log().sum()).expand(x.size(0))

    def forward(self, x):
        return (x - self.offset) * self.scale(), self.ladj(x)

    def inverse(self, z):
        return z / self.scale() + self.offset, self.ladj(z).neg()


class FrameNorm(VideoNorm):
    axes = (-2, -1)


def make_good():
    return VideoNorm()


def make_bad():
    return FrameNorm()
