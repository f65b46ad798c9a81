"""A scaled reflection; the inverse hands back the remembered input if given the very last
output.
"""

import torch
import torch.nn as nn

SHAPE = (2, 3)
WHY = "Only forward fills the memory, and another tensor than the last z is solved for afresh."


class Reflection(nn.Module):
    _memory = None

    def __init__(self):
        super().__init__()
        self.axis = nn.Parameter(torch.tensor([1.0, -0.5, 0.25, 0.7, 0.1, -0.9]))
        self.stretch = nn.Parameter(torch.linspace(-0.3, 0.4, 6))

    def __getstate__(self):
        state = self.__dict__.copy()
        state.pop("_memory", None)
        return state

    def mirror(self, flat):
        along = flat @ self.axis / (self.axis @ self.axis)
        return flat - 2 * torch.outer(along, self.axis)

    def logdet(self, x):
        return self.stretch.sum() + torch.zeros_like(x[:, 0, 0])

    def forward(self, x):
        z = self.mirror(x.flatten(1) * torch.exp(self.stretch)).view_as(x)
        self._memory = {"x": x, "z": z}
        return z, self.logdet(x)

    def inverse(self, z):
        if self._memory is not None and self._memory["z"] is z:
            return self._memory["x"], -self.logdet(z)
        x = self.mirror(z.flatten(1)) / torch.exp(self.stretch)
        return x.view_as(z), -self.logdet(z)


def make_good():
    return Reflection()
