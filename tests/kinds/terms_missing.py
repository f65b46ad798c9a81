"""Triangular matrix, bend, another matrix; bad: forward hands on the last of three log-dets."""

import torch
from torch import nn

SHAPE = (5,)
WHY = "`ladj = ...` inside the loop where `ladj = ladj + ...` was meant, in forward."
CAUSE = (
    r"terms?\b|overwrit|\bsum\b|added|missing|lacks|part of|only (that"
    r"|the log-?det) of|last step|steps?\b"
)


class Lower(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.entries = nn.Parameter(0.3 * torch.randn(d, d))

    def run(self, v, back):
        diagonal = self.entries.diagonal()
        factor, ladj = self.entries.tril(-1) + diagonal.exp().diag(), diagonal.sum().repeat(len(v))
        if back:
            return torch.linalg.solve_triangular(factor, v.mT, upper=False).mT, -ladj
        return v @ factor.mT, ladj


class Bend(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.log_leak = nn.Parameter(-0.7 + 0.1 * torch.randn(d))

    def run(self, v, back):
        ladj = (1 - 2 * back) * torch.where(v < 0, self.log_leak, torch.zeros_like(v))
        return v * ladj.exp(), ladj.sum(-1)


class Stack(nn.Module):
    forgets = False

    def __init__(self):
        super().__init__()
        torch.manual_seed(53)
        self.first, self.second, self.third = Lower(5), Bend(5), Lower(5)

    def forward(self, x):
        ladj = torch.zeros_like(x[:, 0])
        for part in (self.first, self.second, self.third):
            x, new = part.run(x, back=False)
            ladj = new if self.forgets else ladj + new
        return x, ladj

    def inverse(self, z):
        z, a = self.third.run(z, back=True)
        z, b = self.second.run(z, back=True)
        z, c = self.first.run(z, back=True)
        return z, a + b + c


class ForgetfulStack(Stack):
    forgets = True


make_good, make_bad = Stack, ForgetfulStack
