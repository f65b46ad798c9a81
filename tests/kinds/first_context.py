"""A guide channel turns and scales two others, pixel by pixel; wrongly by the first image's
guide.
"""

import torch
import torch.nn as nn

SHAPE = (3, 2, 2)
WHY = "angle[0] is the rotation of the first image, broadcast over the whole batch."
CAUSE = r"first (sample|row|context|image)|row 0|sample 0|another (sample|row)|each other"


class GuidedTurn(nn.Module):
    def __init__(self):
        super().__init__()
        self.guide_net = nn.Conv2d(1, 2, kernel_size=1)
        self.log_range = nn.Parameter(torch.tensor(-0.5))

    def pick(self, field):
        return field

    def polar(self, guide):
        angle, size = self.guide_net(guide).unbind(dim=1)
        log_size = torch.tanh(size) * torch.exp(self.log_range)
        return self.pick(angle), self.pick(log_size)

    @staticmethod
    def turn(u, v, angle, log_size):
        c, s = torch.cos(angle) * log_size.exp(), torch.sin(angle) * log_size.exp()
        return c * u - s * v, s * u + c * v

    def forward(self, x):
        guide, u, v = x.unbind(1)
        angle, log_size = self.polar(x[:, :1])
        u, v = self.turn(u, v, angle, log_size)
        return torch.stack([guide, u, v], 1), 2 * log_size.expand_as(u).sum((1, 2))

    def inverse(self, z):
        guide, u, v = z.unbind(1)
        angle, log_size = self.polar(z[:, :1])
        u, v = self.turn(u, v, -angle, -log_size)
        return torch.stack([guide, u, v], 1), -2 * log_size.expand_as(u).sum((1, 2))


class FirstGuide(GuidedTurn):
    def pick(self, field):
        return field[0]


def make_good():
    return GuidedTurn()


def make_bad():
    return FirstGuide()
