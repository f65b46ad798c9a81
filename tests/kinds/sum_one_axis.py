"""A coupling of image channels; bad: its log-scales are added up over H and W, not over
channels.
"""

import torch
from torch import nn

SHAPE = (4, 3, 2)
WHY = "Two numbers a sample, one for each moved channel, instead of their sum."
CAUSE = r"shape|sum|axis|axes|dimension"


class ChannelCoupling(nn.Module):
    def __init__(self, axes):
        super().__init__()
        torch.manual_seed(76)
        self.axes = axes
        self.log_scale_net = nn.Sequential(
            nn.Conv2d(2, 6, 3, padding=1), nn.SiLU(), nn.Conv2d(6, 2, 1), nn.Tanh()
        )
        self.shift = nn.Parameter(torch.full((2, 1, 1), 0.3))

    def forward(self, x):
        fixed, free = x[:, 2:], x[:, :2]
        s = self.log_scale_net(fixed)
        return torch.cat([free.mul(s.exp()).add(self.shift), fixed], 1), s.sum(self.axes)

    def inverse(self, z):
        fixed, free = z[:, 2:], z[:, :2]
        s = self.log_scale_net(fixed)
        return torch.cat([free.sub(self.shift).div(s.exp()), fixed], 1), -s.sum(self.axes)


def make_good():
    return ChannelCoupling(axes=(1, 2, 3))


def make_bad():
    return ChannelCoupling(axes=(2, 3))
