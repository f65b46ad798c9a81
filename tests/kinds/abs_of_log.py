"""Channel mixing U diag(s) V along a sequence; bad: adds up |log s| over the singular values."""

import torch
from torch import nn

SHAPE = (3, 4)
WHY = "A singular value below one shrinks the volume; its log must stay negative."
CAUSE = r"\|log|abs|sign|absolute|magnitude"


class SvdMixing(nn.Module):
    def __init__(self, channels):
        super().__init__()
        torch.manual_seed(55)
        self.left = nn.Parameter(torch.randn(channels, channels))
        self.right = nn.Parameter(torch.randn(channels, channels))
        self.spectrum = nn.Parameter(torch.tensor([0.6, -0.5, -0.3]))

    @staticmethod
    def orthogonal(free):
        return torch.linalg.matrix_exp(free - free.mT)

    def log_abs_det(self, x):
        singular = self.spectrum.exp()
        return (x.size(-1) * self.collect(singular)).expand(x.size(0))

    def collect(self, singular):
        return singular.log().sum()

    def forward(self, x):
        u, v = self.orthogonal(self.left), self.orthogonal(self.right)
        return u @ (self.spectrum.exp()[:, None] * (v @ x)), self.log_abs_det(x)

    def inverse(self, z):
        u, v = self.orthogonal(self.left), self.orthogonal(self.right)
        return v.mT @ ((-self.spectrum).exp()[:, None] * (u.mT @ z)), -self.log_abs_det(z)


class UnsignedMixing(SvdMixing):
    def collect(self, singular):
        return singular.log().abs().sum()


def make_good():
    return SvdMixing(3)


def make_bad():
    return UnsignedMixing(3)
