"""A coupling that logs, in training, its largest log-det, a moving norm of x and the rows
it saw.
"""

import torch
import torch.nn as nn

SHAPE = (7,)
WHY = "Three buffers are written for a progress bar; nothing that is returned reads them."


class Monitored(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 9), nn.Softsign(), nn.Linear(9, 6), nn.Softsign())
        self.register_buffer("rows", torch.zeros((), dtype=torch.int64))
        self.register_buffer("peak", torch.tensor(-1e6))
        self.register_buffer("norm", torch.tensor(0.0))

    @torch.no_grad()
    def log(self, x, logdet):
        if not self.training or x.shape[0] == 0:
            return
        self.rows += x.shape[0]
        self.peak.copy_(torch.maximum(self.peak, logdet.max()))
        self.norm.mul_(0.98).add_(0.02 * x.norm(dim=1).mean())

    def forward(self, x):
        left, right = torch.split(x, [4, 3], dim=1)
        s, t = self.net(left).split(3, dim=1)
        logdet = s.sum(1)
        self.log(x, logdet)
        return torch.cat((left, right * s.exp() + t), dim=1), logdet

    def inverse(self, z):
        left, right = torch.split(z, [4, 3], dim=1)
        s, t = self.net(left).split(3, dim=1)
        return torch.cat((left, (right - t) / s.exp()), dim=1), -s.sum(1)


def make_good():
    return Monitored()
