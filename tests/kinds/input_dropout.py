"""The second half of a sequence is scaled given the first; bad: F.dropout on what it is given."""

import torch
import torch.nn.functional as F
from torch import nn

SHAPE = (2, 6)
WHY = "While training, each call draws its own zeros, so the two directions are not inverse."
CAUSE = r"dropout|random|stochastic|deterministic|differ\w* (at|from|between)|two calls|twice"


class PastToFuture(nn.Module):
    p = None

    def __init__(self):
        super().__init__()
        self.encode = nn.Conv1d(2, 7, kernel_size=1)
        self.decode = nn.Conv1d(7, 4, kernel_size=3, padding=1)

    def statistics(self, past):
        if self.p:
            past = F.dropout(past, self.p, self.training)
        code = self.decode(torch.sigmoid(self.encode(past)))
        mean, log_std = code.split(2, dim=1)
        return mean, F.softsign(log_std)

    def forward(self, x):
        past, future = x[..., :3], x[..., 3:]
        mean, log_std = self.statistics(past)
        z = torch.cat((past, (future - mean) * torch.exp(-log_std)), dim=-1)
        return z, -log_std.flatten(1).sum(1)

    def inverse(self, z):
        past, noise = z[..., :3], z[..., 3:]
        mean, log_std = self.statistics(past)
        return torch.cat((past, mean + noise * log_std.exp()), dim=-1), log_std.flatten(1).sum(1)


class ForgetfulPast(PastToFuture):
    p = 0.3


def make_good():
    torch.manual_seed(65)
    return PastToFuture()


def make_bad():
    torch.manual_seed(65)
    return ForgetfulPast()
