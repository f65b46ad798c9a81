"""z = x + c x^3 / (1 + x^2), inverted by iteration; bad: the iteration starts from
nan_to_num(z).
"""

import torch
from torch import nn

SHAPE = (2, 4)
WHY = "A NaN latent comes back as x = 0, as if nothing had happened."
CAUSE = r"nan"


class Rational(nn.Module):
    def __init__(self):
        super().__init__()
        self.raw = nn.Parameter(torch.tensor([[0.5], [-0.5]]))

    def parts(self, x):
        c, q = torch.sigmoid(self.raw), 1 + x.square()
        inner = 1 - 1 / q
        return x + c * x * inner, 1 + c * (inner + 2 * inner / q)

    def forward(self, x):
        z, slope = self.parts(x)
        return z, slope.log().sum((1, 2))

    def clean(self, z):
        return z

    def inverse(self, z):
        z = self.clean(z)
        with torch.no_grad():
            step = 1 / (1 + 1.125 * torch.sigmoid(self.raw))
            x = z * step
            for _ in range(70):
                x = x - step * (self.parts(x)[0] - z)
        value, slope = self.parts(x)
        x = x - (value - z) / slope.detach()
        return x, -self.parts(x)[1].log().sum((1, 2))


class RationalCleaned(Rational):
    def clean(self, z):
        return torch.nan_to_num(z)


def make_good():
    return Rational()


def make_bad():
    return RationalCleaned()
