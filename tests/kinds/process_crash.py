"""An actnorm of image channels, inverse without a log-det; bad: .data assigned once, by a flag."""

import torch
from torch import nn

SHAPE = (3, 2, 4)
WHY = "A Python flag is not saved, and replacing .data inside torch.func may end the process."
CAUSE = (
    r"first (training )?(batch|call|data)|initiali[sz]|started|\.data\b"
    r"|state_dict|not saved"
)


class ChannelNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))
        self.logs = nn.Parameter(torch.zeros(1, 3, 1, 1))
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def prepare(self, x):
        if not self.training or int(self.calls) > 0 or x.numel() == 0:
            return
        mean = x.mean((0, 2, 3), keepdim=True)
        var = (x - mean).square().mean((0, 2, 3), keepdim=True)
        self.bias.copy_(-mean)
        self.logs.copy_(-0.5 * torch.log(var + 1e-4))
        self.calls += 1

    def forward(self, x):
        self.prepare(x)
        ladj = self.logs.sum() * (x.shape[2] * x.shape[3])
        return (x + self.bias) * self.logs.exp(), ladj.expand(x.shape[0])

    def inverse(self, z):
        return z * self.logs.neg().exp() - self.bias


class ChannelNormByData(ChannelNorm):
    ready = False

    def prepare(self, x):
        if self.ready:
            return
        self.bias.data = -x.detach().mean((0, 2, 3), keepdim=True)
        var = (x.detach() + self.bias.data).square().mean((0, 2, 3), keepdim=True)
        self.logs.data = -0.5 * torch.log(var + 1e-4)
        self.ready = True


def make_good():
    return ChannelNorm()


def make_bad():
    return ChannelNormByData()
