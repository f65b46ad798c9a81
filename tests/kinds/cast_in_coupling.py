"""A coupling on images that raises e to the power of its log-scales in float32 "for stability"."""

import torch
from torch import nn

SHAPE = (4, 2, 3)
WHY = "In float64 the scale is rounded to float32 in the map, and the log-det is not."
CAUSE = r"float32|\.float\(\)|dtype|cast|single.precision|rounded"


class Coupling(nn.Module):
    def __init__(self, channels=4, hidden=6):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(channels // 2, hidden, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(hidden, channels, 1),
        )

    def exp(self, log_scale):
        return torch.exp(log_scale)

    def terms(self, kept):
        log_scale, shift = self.net(kept).chunk(2, 1)
        return 2 * torch.tanh(log_scale / 2), shift

    def forward(self, x):
        kept, moved = x.chunk(2, 1)
        log_scale, shift = self.terms(kept)
        z = torch.cat([kept, moved * self.exp(log_scale) + shift], 1)
        return z, log_scale.sum((1, 2, 3))

    def inverse(self, z):
        kept, moved = z.chunk(2, 1)
        log_scale, shift = self.terms(kept)
        x = torch.cat([kept, (moved - shift) / self.exp(log_scale)], 1)
        return x, -log_scale.sum((1, 2, 3))


class FloatCoupling(Coupling):
    def exp(self, log_scale):
        return torch.exp(log_scale.float())


def make_good():
    return Coupling()


def make_bad():
    return FloatCoupling()
