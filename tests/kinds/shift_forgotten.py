"""An affine coupling on images whose inverse does not take the shift away."""

import torch
import torch.nn as nn

SHAPE = (4, 3, 3)
WHY = "The channels that move come back with t / s left on them, the others are right."
CAUSE = r"shift"


class Coupling(nn.Module):
    """``z_b = s(x_a) x_b + t(x_a)`` for the halves a and b of the channels."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.ELU(), nn.Conv2d(6, 4, 1))

    def parts(self, kept):
        shift, raw = self.net(kept).chunk(2, 1)
        return shift, torch.sigmoid(raw + 2)

    def forward(self, x):
        kept, moved = x.chunk(2, 1)
        shift, scale = self.parts(kept)
        return torch.cat([kept, scale * moved + shift], 1), scale.log().sum((1, 2, 3))

    def undone(self, moved, shift, scale):
        return (moved - shift) / scale

    def inverse(self, z):
        kept, moved = z.chunk(2, 1)
        shift, scale = self.parts(kept)
        x = torch.cat([kept, self.undone(moved, shift, scale)], 1)
        return x, -scale.log().sum((1, 2, 3))


class Forgets(Coupling):
    def undone(self, moved, shift, scale):
        return moved / scale


def make_good():
    return Coupling()


def make_bad():
    return Forgets()
