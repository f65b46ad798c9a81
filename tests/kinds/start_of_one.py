"""Scale and centre of a sequence from its first training batch; bad: torch.var_mean of one
sample.
"""

import torch
from torch import nn

SHAPE = (3, 2)
WHY = "The unbiased variance divides by B - 1 = 0, and NaN is written into the parameters."
CAUSE = r"batch of (one|1)|one sample|single|nan|first (training )?batch"


class Whitened(nn.Module):
    def __init__(self):
        super().__init__()
        self.centre = nn.Parameter(torch.zeros(SHAPE))
        self.log_var = nn.Parameter(torch.zeros(SHAPE))
        self.register_buffer("fitted", torch.zeros(1, dtype=torch.bool))

    def moments(self, x):
        centre = x.mean(0)
        var = (x - centre).square().mean(0)
        return (var.clamp(min=1e-4) if x.size(0) > 1 else torch.ones_like(var)), centre

    @torch.no_grad()
    def fit(self, x):
        var, centre = self.moments(x)
        self.log_var.copy_(var.log())
        self.centre.copy_(centre)
        self.fitted.fill_(True)

    def forward(self, x):
        if self.training and x.size(0) > 0 and not self.fitted.item():
            self.fit(x)
        z = (x - self.centre) * torch.exp(-self.log_var / 2)
        return z, (-0.5 * self.log_var.sum()).expand(x.size(0))

    def inverse(self, z):
        x = z * torch.exp(self.log_var / 2) + self.centre
        return x, (0.5 * self.log_var.sum()).expand(z.size(0))


class WhitenedUnbiased(Whitened):
    def moments(self, x):
        var, centre = torch.var_mean(x, dim=0)
        return var + 1e-5, centre


def make_good():
    return Whitened()


def make_bad():
    return WhitenedUnbiased()
