"""Images standardised by fixed means and deviations, then scaled; bad: the deviations don't
count.
"""

import torch
from torch import nn

SHAPE = (3, 2, 4)
WHY = "Dividing by a fixed deviation changes the volume too: minus 8 times the sum of their logs."
CAUSE = (
    r"constant|same (number|amount)|off by|log ?\(? ?0\.2|33\.2\d*"
    r"|per (entry|dim)|too (large|small) by|deviation|\bstd\b"
)


class Standardise(nn.Module):
    def __init__(self, count_std):
        super().__init__()
        self.count_std = count_std
        mean, std = torch.tensor([0.491, 0.482, 0.446]), torch.tensor([0.247, 0.243, 0.261])
        self.register_buffer("mean", mean[:, None, None])
        self.register_buffer("std", std[:, None, None])
        self.gain = nn.Parameter(0.1 * torch.arange(24.0).view(SHAPE).cos())

    def ldj(self, x):
        per_entry = self.gain
        if self.count_std:
            per_entry = per_entry - torch.log(self.std)
        return per_entry.sum() * torch.ones_like(x[:, 0, 0, 0])

    def forward(self, x):
        return (x - self.mean) / self.std * torch.exp(self.gain), self.ldj(x)

    def inverse(self, z):
        return z * torch.exp(-self.gain) * self.std + self.mean, -self.ldj(z)


def make_good():
    return Standardise(count_std=True)


def make_bad():
    return Standardise(count_std=False)
