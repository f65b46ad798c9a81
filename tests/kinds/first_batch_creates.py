"""An affine layer for images that takes its number of channels from its first batch."""

import torch
from torch import nn

SHAPE = (3, 2, 4)
WHY = "Before the first call there are no parameters; from then on it is an ordinary affine map."


class LazyAffine2d(nn.Module):
    names = ("bias", "logs")

    def __init__(self):
        super().__init__()
        for name in self.names:
            self.register_parameter(name, None)

    def build(self, x):
        if self.logs is None:
            zeros = torch.zeros(1, x.shape[1], 1, 1, dtype=x.dtype, device=x.device)
            self.bias, self.logs = nn.Parameter(zeros), nn.Parameter(zeros.clone())

    def _load_from_state_dict(self, state_dict, prefix, *args):
        for name in self.names:
            saved = state_dict.get(prefix + name)
            if saved is not None and getattr(self, name) is None:
                setattr(self, name, nn.Parameter(torch.zeros_like(saved)))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def logdet(self, x):
        return (self.logs.sum() * x.shape[2] * x.shape[3]).expand(x.shape[0])

    def forward(self, x):
        self.build(x)
        return (x + self.bias) * self.logs.exp(), self.logdet(x)

    def inverse(self, z):
        self.build(z)
        return z * (-self.logs).exp() - self.bias, -self.logdet(z)


def make_good():
    return LazyAffine2d()
