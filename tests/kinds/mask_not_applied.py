"""A coupling by a checkerboard mask whose network is given the whole image."""

import torch
import torch.nn as nn

SHAPE = (2, 4, 4)
WHY = "The scales depend on the pixels that they scale, so the Jacobian is not triangular."
CAUSE = r"mask|lets|sees|depends? on the entries"


class Checkerboard(nn.Module):
    """``z = m x + (1 - m) (x exp(s(m x)) + t(m x))`` for a checkerboard ``m``."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(2, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 4, 3, padding=1)
        )

    def mask(self, x):
        rows, columns = torch.arange(x.shape[2])[:, None], torch.arange(x.shape[3])
        return ((rows + columns) % 2).to(x)

    def seen(self, x):
        return x * self.mask(x)

    def parts(self, x):
        log_scale, shift = self.net(self.seen(x)).chunk(2, 1)
        kept = self.mask(x)
        return torch.tanh(log_scale) * (1 - kept), shift * (1 - kept)

    def forward(self, x):
        log_scale, shift = self.parts(x)
        return x * log_scale.exp() + shift, log_scale.sum((1, 2, 3))

    def inverse(self, z):
        log_scale, shift = self.parts(z)
        return (z - shift) * (-log_scale).exp(), -log_scale.sum((1, 2, 3))


class Whole(Checkerboard):
    def seen(self, x):
        return x


def make_good():
    return Checkerboard()


def make_bad():
    return Whole()
