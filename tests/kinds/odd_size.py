"""Images squeezed by 2x2 into four times the channels; the wrong one crops odd images first."""

import torch
import torch.nn as nn
import torch.nn.functional as F

SHAPE = (2, 4, 6)
WHY = "Of 5 rows the last is lost in silence; F.pixel_unshuffle by itself refuses such a height."
CAUSE = r"drop|los[te]|trunc|remainder|fewer|cut|crop|divisib|odd|size"


class Squeeze(nn.Module):
    def __init__(self, channels=2):
        super().__init__()
        self.log_amp = nn.Parameter(torch.zeros(1, 4 * channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, 4 * channels, 1, 1))

    def prepare(self, x):
        return x

    def ldj(self, z):
        b, _, h, w = z.shape
        return (self.log_amp.sum() * h * w).repeat(b)

    def forward(self, x):
        z = F.pixel_unshuffle(self.prepare(x), 2)
        return z * self.log_amp.exp() + self.bias, self.ldj(z)

    def inverse(self, z):
        return F.pixel_shuffle((z - self.bias) / self.log_amp.exp(), 2), -self.ldj(z)


class CroppingSqueeze(Squeeze):
    def prepare(self, x):
        height, width = (size // 2 * 2 for size in x.shape[-2:])
        return x[..., :height, :width]


def make_good():
    return Squeeze()


def make_bad():
    return CroppingSqueeze()
