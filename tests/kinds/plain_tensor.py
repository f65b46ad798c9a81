"""A fixed 1x1 convolution by a Hadamard matrix; bad: its kernel sits in a plain dict of tensors."""

import torch
import torch.nn.functional as F
from torch import nn

SHAPE = (4, 3, 2)
WHY = "nn.Module does not find tensors inside a dict: the kernel stays float32 after .double()."
CAUSE = r"plain|attribute|buffer|float32|dtype|\.double\(\)|\.to\(|\border\b"


def hadamard():
    two = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    return torch.kron(two, two)[:, :, None, None] / 2


class HadamardConv(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("table", hadamard())
        self.offset = nn.Parameter(torch.randn(4, generator=torch.Generator().manual_seed(59)))
        self.size = nn.Parameter(torch.tensor(0.2))

    def kernel(self):
        return self.table

    def forward(self, x):
        ladj = self.size * x[0].numel()
        return F.conv2d(x, self.kernel(), self.offset) * self.size.exp(), ladj.expand(x.size(0))

    def inverse(self, z):
        ladj = -self.size * z[0].numel()
        x = z * torch.exp(-self.size) - self.offset.view(-1, 1, 1)
        return F.conv2d(x, self.kernel()), ladj.expand(z.size(0))


class LooseHadamardConv(HadamardConv):
    def __init__(self):
        super().__init__()
        del self.table
        self.constants = {"kernel": hadamard()}

    def kernel(self):
        return self.constants["kernel"]


def make_good():
    return HadamardConv()


def make_bad():
    return LooseHadamardConv()
