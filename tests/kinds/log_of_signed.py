"""A free 2x2 channel mixing: its log-det through slogdet or, wrongly, through torch.logdet."""

import torch
import torch.nn as nn

SHAPE = (2, 3, 3)
WHY = "torch.logdet is NaN as soon as training has turned the determinant negative."
CAUSE = r"negative|sign|log of|\babs|nan|logdet"


class Mixing(nn.Module):
    def __init__(self):
        super().__init__()
        self.W = nn.Parameter(torch.tensor([[0.7, -0.2], [0.3, 0.5]]))

    def log_volume(self):
        return torch.linalg.slogdet(self.W).logabsdet

    def per_image(self, x):
        return (self.log_volume() * x.shape[2] * x.shape[3]).repeat(x.shape[0])

    def forward(self, x):
        return torch.einsum("ij,bjhw->bihw", self.W, x), self.per_image(x)

    def inverse(self, z):
        back = torch.linalg.inv(self.W)
        return torch.einsum("ij,bjhw->bihw", back, z), -self.per_image(z)


class SignedMixing(Mixing):
    def log_volume(self):
        return torch.logdet(self.W)


def make_good():
    return Mixing()


def make_bad():
    return SignedMixing()
