"""A coupling of the left and right half of a vector; bad: the halves are interleaved on return."""

import torch
from torch import nn

SHAPE = (6,)
WHY = "Both directions take halves apart, but stack(...).flatten puts them together by turns."
CAUSE = r"order|split|join|interleav|halves|concat|^(?!.*transpose).*permut"


class HalfCoupling(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.embed = nn.Linear(3, width)
        self.to_shift = nn.Linear(width, 3)
        self.to_gate = nn.Linear(width, 3)

    def merge(self, left, right):
        return torch.hstack((left, right))

    def params(self, left):
        hidden = nn.functional.elu(self.embed(left)).tanh()
        return self.to_shift(hidden), 0.5 + torch.sigmoid(self.to_gate(hidden))

    def forward(self, x):
        left, right = torch.tensor_split(x, 2, dim=-1)
        shift, gate = self.params(left)
        return self.merge(left, gate * (right + shift)), gate.log().sum(-1)

    def inverse(self, z):
        left, right = torch.tensor_split(z, 2, dim=-1)
        shift, gate = self.params(left)
        return self.merge(left, right / gate - shift), -gate.log().sum(-1)


class ZippedCoupling(HalfCoupling):
    def merge(self, left, right):
        return torch.stack((left, right), dim=-1).flatten(-2)


def make_good():
    torch.manual_seed(57)
    return HalfCoupling()


def make_bad():
    torch.manual_seed(57)
    return ZippedCoupling()
