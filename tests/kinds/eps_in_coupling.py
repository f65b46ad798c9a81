"""An affine coupling with the scale sigmoid(s + 2), as in Glow; log-det from log(scale + 1e-6)."""

import torch
from torch import nn
from torch.nn.functional import logsigmoid

SHAPE = (4, 3, 2)
WHY = "The stabiliser stands in the logarithm and not in the map."
CAUSE = r"eps|stabili|1e-0?6|0\.000001|9\.9+|1\.0+\d*e-0?6|(plus|adds?|\+) |added|offset"


class GlowCoupling(nn.Module):
    def __init__(self, channels=4, hidden=6):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(channels // 2, hidden, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 3, padding=1),
        )

    def log(self, s):
        return logsigmoid(s + 2).flatten(1).sum(1)

    def terms(self, kept):
        t, s = self.net(kept).chunk(2, 1)
        s = 2 * torch.tanh(s)
        return t, torch.sigmoid(s + 2), self.log(s)

    def forward(self, x):
        kept, moved = x.chunk(2, 1)
        t, scale, logdet = self.terms(kept)
        return torch.cat([kept, (moved + t) * scale], 1), logdet

    def inverse(self, z):
        kept, moved = z.chunk(2, 1)
        t, scale, logdet = self.terms(kept)
        return torch.cat([kept, moved / scale - t], 1), -logdet


class SafeLogCoupling(GlowCoupling):
    def log(self, s):
        return torch.log(torch.sigmoid(s + 2) + 1e-6).flatten(1).sum(1)


def make_good():
    return GlowCoupling()


def make_bad():
    return SafeLogCoupling()
