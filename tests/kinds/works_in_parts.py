"""A coupling that works in parts of 16 samples; the wrong one forgets the log-dets of the rest."""

import torch
import torch.nn as nn

SHAPE = (4,)
WHY = "Batches of up to 16 samples show nothing."
CAUSE = r"batch|rows|samples"


class Coupling(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(2, 4)

    def parts(self, log_scale):
        return [part.sum(1) for part in log_scale.split(16)]

    def forward(self, x):
        head, tail = x.chunk(2, 1)
        shift, raw = self.net(head).chunk(2, 1)
        log_scale = raw.tanh()
        z = torch.cat([head, tail * log_scale.exp() + shift], 1)
        return z, torch.cat(self.parts(log_scale))

    def inverse(self, z):
        head, tail = z.chunk(2, 1)
        shift, raw = self.net(head).chunk(2, 1)
        log_scale = raw.tanh()
        x = torch.cat([head, (tail - shift) * (-log_scale).exp()], 1)
        return x, -torch.cat(self.parts(log_scale))


class ForgetsTheRest(Coupling):
    def parts(self, log_scale):
        first, *others = super().parts(log_scale)
        return [first, *(part if len(part) == 16 else 0 * part for part in others)]


def make_good():
    torch.manual_seed(0)
    return Coupling()


def make_bad():
    torch.manual_seed(0)
    return ForgetsTheRest()
