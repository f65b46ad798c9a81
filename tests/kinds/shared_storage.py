"""Two half-steps whose linears shall begin equal: .data copied, or .data handed over."""

import torch
import torch.nn as nn

SHAPE = (4,)
NOTE_OK = True
WHY = "Handing over .data leaves two parameters in one storage, which an optimiser moves twice."
CAUSE = r"storage|shar|alias|same (memory|tensor|data)"


class Half(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 4)

    def forward(self, steer):
        log_s, t = self.linear(steer).chunk(2, dim=-1)
        return torch.sin(log_s), t


class Leapfrog(nn.Module):
    def __init__(self, copy=True):
        super().__init__()
        self.p, self.q = Half(), Half()
        for mine, other in zip(self.p.parameters(), self.q.parameters(), strict=True):
            mine.data = other.data.clone() if copy else other.data

    def forward(self, x):
        a, b = x.split(2, dim=1)
        s1, t1 = self.p(a)
        b = b * s1.exp() + t1
        s2, t2 = self.q(b)
        a = a * s2.exp() + t2
        return torch.cat([a, b], dim=1), (s1 + s2).sum(1)

    def inverse(self, z):
        a, b = z.split(2, dim=1)
        s2, t2 = self.q(b)
        a = (a - t2) / s2.exp()
        s1, t1 = self.p(a)
        b = (b - t1) / s1.exp()
        return torch.cat([a, b], dim=1), -(s1 + s2).sum(1)


def make_good():
    return Leapfrog()


def make_bad():
    return Leapfrog(copy=False)
