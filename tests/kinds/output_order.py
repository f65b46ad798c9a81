"""A coupling of two image channels; bad: forward returns them exchanged, inverse reads them as
were.
"""

import torch
from torch import nn

SHAPE = (2, 2, 3)
WHY = "The numbers are all there, but the two channels have changed places."
CAUSE = r"order|revers|flip|swap|exchang|^(?!.*transpose).*permut"


class TwoChannels(nn.Module):
    exchanged = False

    def __init__(self):
        super().__init__()
        torch.manual_seed(61)
        self.features = nn.Sequential(nn.Conv2d(1, 5, 3, padding=1), nn.Softsign())
        self.mu = nn.Conv2d(5, 1, 1)
        self.sigma = nn.Conv2d(5, 1, 1)

    def affine(self, a):
        h = self.features(a)
        return self.mu(h), torch.cos(self.sigma(h)) / 2 + 0.2

    def forward(self, x):
        a, b = x[:, [0]], x[:, [1]]
        mu, ls = self.affine(a)
        parts = [a, b * ls.exp() + mu]
        if self.exchanged:
            parts = parts[::-1]
        return torch.cat(parts, dim=1), ls.sum(dim=(-3, -2, -1))

    def inverse(self, z):
        a, b = z[:, [0]], z[:, [1]]
        mu, ls = self.affine(a)
        return torch.cat([a, (b - mu) / ls.exp()], dim=1), -ls.sum(dim=(-3, -2, -1))


class TwoChannelsExchanged(TwoChannels):
    exchanged = True


make_good = TwoChannels
make_bad = TwoChannelsExchanged
