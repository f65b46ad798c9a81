"""A coupling whose weight is divided by its largest singular value; bad: one more sweep a call."""

import torch
import torch.nn.functional as F
from torch import nn

SHAPE = (6,)
WHY = "The estimate of the singular value is a state that every call improves a little."
CAUSE = r"state|every call|each call|moves|chang|power|spectral|buffer|pure"


class SpectralCoupling(nn.Module):
    def __init__(self):
        super().__init__()
        start = torch.zeros(6, 3)
        start[0, 0], start[3, 1], start[5, 2], start[1, 2] = 1.4, -1.2, 1.0, 0.3
        self.weight = nn.Parameter(start)
        self.bias = nn.Parameter(torch.linspace(-0.2, 0.3, 6))
        self.register_buffer("v", torch.tensor([0.2, 0.5, 0.8]))

    def sigma(self):
        return torch.linalg.svdvals(self.weight)[0]

    def params(self, kept):
        out = F.linear(kept, self.weight / (0.05 + self.sigma()), self.bias).tanh()
        return out[:, :3], out[:, 3:]

    def forward(self, x):
        kept, rest = x[:, 3:], x[:, :3]
        t, s = self.params(kept)
        return torch.cat([rest * s.exp() + t, kept], 1), s.sum(1)

    def inverse(self, z):
        kept, rest = z[:, 3:], z[:, :3]
        t, s = self.params(kept)
        return torch.cat([(rest - t) / s.exp(), kept], 1), s.sum(1).neg()


class SweepingCoupling(SpectralCoupling):
    def sigma(self):
        with torch.no_grad():
            u = F.normalize(self.weight @ self.v, dim=0)
            v = F.normalize(self.weight.t() @ u, dim=0)
            self.v.copy_(v)
        return u @ self.weight @ v


make_good = SpectralCoupling
make_bad = SweepingCoupling
