"""A filter with feedback per channel, z_t = e^s x_t - k z_(t-1); its log-det is T s."""

import torch
from torch import nn

SHAPE = (2, 6)
WHY = "The feedback k stands below the diagonal of the Jacobian and does not change its volume."
CAUSE = r"volume|triangular|recur|past|previous|earlier|diagonal|feedback|\blag\b|\bk\b"


class FeedbackFilter(nn.Module):
    def __init__(self, channels=2):
        super().__init__()
        self.s = nn.Parameter(torch.tensor([0.3, -0.1]))
        self.raw = nn.Parameter(torch.tensor([0.6, -0.5]))

    def k(self):
        return 0.9 * torch.tanh(self.raw)

    def per_step(self):
        return self.s.sum()

    def logdet(self, x):
        return (x.shape[2] * self.per_step()).expand(len(x))

    def forward(self, x):
        last, steps = torch.zeros_like(x[:, :, 0]), []
        for t in range(x.shape[2]):
            last = self.s.exp() * x[:, :, t] - self.k() * last
            steps.append(last)
        return torch.stack(steps, 2), self.logdet(x)

    def inverse(self, z):
        past = nn.functional.pad(z, (1, 0))[:, :, :-1]
        x = (z + self.k()[:, None] * past) * (-self.s).exp()[:, None]
        return x, -self.logdet(z)


class ResponseFilter(FeedbackFilter):
    def per_step(self):
        return (self.s.exp() - self.k()).abs().log().sum()


def make_good():
    return FeedbackFilter()


def make_bad():
    return ResponseFilter()
