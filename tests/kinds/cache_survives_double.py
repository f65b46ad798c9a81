"""Signals to cosine coefficients; the table of cosines is kept by length and dtype, or by
length.
"""

import math

import torch
import torch.nn as nn

SHAPE = (2, 6)
WHY = "Kept by its length alone, a table made in float32 serves float64 inputs after a cast."
CAUSE = r"cache|kept|stale|float32|dtype|\.double\(\)|\.to\(|convert|rounded|table"


def cosine_table(n, like):
    k = torch.arange(n, dtype=like.dtype, device=like.device)
    table = torch.cos(math.pi / n * torch.outer(k, k + 0.5)) * math.sqrt(2 / n)
    return torch.cat([table[:1] / math.sqrt(2), table[1:]])


class CosineScale(nn.Module):
    def __init__(self, by_dtype):
        super().__init__()
        self.by_dtype = by_dtype
        self.tables = {}
        self.log_gain = nn.Parameter(torch.zeros(6))

    def table(self, x):
        key = (x.shape[-1], x.dtype) if self.by_dtype else x.shape[-1]
        if key not in self.tables:
            self.tables[key] = cosine_table(x.shape[-1], x)
        return self.tables[key].to(x.dtype)

    def logdet(self, x):
        return (x.shape[1] * self.log_gain.sum()).expand(len(x))

    def forward(self, x):
        return (x @ self.table(x).mT) * self.log_gain.exp(), self.logdet(x)

    def inverse(self, z):
        return (z * torch.exp(-self.log_gain)) @ self.table(z), -self.logdet(z)


def make_good():
    return CosineScale(by_dtype=True)


def make_bad():
    return CosineScale(by_dtype=False)
