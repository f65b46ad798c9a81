"""Rows of an image, each shifted by tanh(K times the row above it in z); bad: counts log|det K|."""

import torch
from torch import nn

SHAPE = (1, 4, 3)
WHY = "Each row is only shifted by what lies above it, so the determinant is one."
CAUSE = r"volume|\b0\b|zero|triangular|recur|past|ones on|log\|det"


class RowByRow(nn.Module):
    def __init__(self):
        super().__init__()
        g = torch.Generator().manual_seed(82)
        self.kernel = nn.Parameter(torch.randn(3, 3, generator=g))

    def shift(self, above):
        return torch.tanh(above @ self.kernel)

    def log_det(self, rows):
        return torch.zeros_like(rows[:, 0, 0, 0])

    def forward(self, x):
        done = [x[:, :, 0]]
        for row in x.unbind(2)[1:]:
            done.append(row + self.shift(done[-1]))
        return torch.stack(done, 2), self.log_det(x)

    def inverse(self, z):
        shifts = self.shift(z[:, :, :-1])
        return torch.cat([z[:, :, :1], z[:, :, 1:] - shifts], 2), -self.log_det(z)


class RowByRowCounted(RowByRow):
    def log_det(self, rows):
        return rows.size(2) * torch.linalg.slogdet(self.kernel)[1].expand(rows.size(0))


def make_good():
    return RowByRow()


def make_bad():
    return RowByRowCounted()
