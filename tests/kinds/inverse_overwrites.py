"""A coupling on images whose inverse fills in the decoded channels; bad: in the caller's tensor."""

import torch
from torch import nn

SHAPE = (3, 2, 3)
WHY = "`x = z` makes no copy: x[:, 1:] = ... writes into the latent that was passed in."
CAUSE = r"in.?place|overwrit|chang\w+ (its|the) (input|latent|argument)|modif"


class FillIn(nn.Module):
    copies = True

    def __init__(self):
        super().__init__()
        torch.manual_seed(67)
        self.cond = nn.Conv2d(1, 4, (1, 3), padding=(0, 1))

    def shift_and_log_scale(self, a):
        out = self.cond(a)
        return 2 * out[:, :2].tanh(), out[:, 2:].tanh() * 0.8

    def forward(self, x):
        t, s = self.shift_and_log_scale(x[:, :1])
        return torch.cat([x[:, :1], x[:, 1:] * torch.exp(s) + t], 1), s.sum([1, 2, 3])

    def inverse(self, z):
        x = torch.clone(z) if self.copies else z
        t, s = self.shift_and_log_scale(z[:, :1])
        x[:, 1:] = (z[:, 1:] - t) * torch.exp(-s)
        return x, -s.sum([1, 2, 3])


class FillInCallers(FillIn):
    copies = False


def make_good():
    return FillIn()


def make_bad():
    return FillInCallers()
