"""Images of even sizes, squeezed and scaled; the wrong one counts H H pixels."""

import torch
import torch.nn as nn
import torch.nn.functional as F

SHAPE = (1, 4, 4)
WHY = "Odd sizes are refused, so the only size that shows it is even and not square."
CAUSE = r"square|H H|W W"


class ScaledSqueeze(nn.Module):
    def __init__(self):
        super().__init__()
        self.log_scale = nn.Parameter(torch.linspace(-0.3, 0.5, 4))

    def pixels(self, z):
        return z.shape[2] * z.shape[3]

    def forward(self, x):
        if x.shape[2] % 2 or x.shape[3] % 2:
            raise ValueError("even sizes only")
        z = F.pixel_unshuffle(x, 2) * self.log_scale.exp()[:, None, None]
        return z, (self.log_scale.sum() * self.pixels(z)).expand(len(x))

    def inverse(self, z):
        x = F.pixel_shuffle(z * (-self.log_scale).exp()[:, None, None], 2)
        return x, (-self.log_scale.sum() * self.pixels(z)).expand(len(z))


class OfSquares(ScaledSqueeze):
    def pixels(self, z):
        return z.shape[2] ** 2


def make_good():
    return ScaledSqueeze()


def make_bad():
    return OfSquares()
