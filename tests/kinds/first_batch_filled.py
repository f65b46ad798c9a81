"""A ParameterDict that is empty until the first images come, or until a state_dict fills it."""

import torch
import torch.nn as nn

SHAPE = (2, 3, 3)
WHY = "The entries are made once, from the first batch or the checkpoint, and all are saved."


class LazyNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.bank = nn.ParameterDict()

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
        start = f"{prefix}bank."
        for key, value in state_dict.items():
            name = key.removeprefix(start)
            if key.startswith(start) and name not in self.bank:
                self.bank[name] = nn.Parameter(value.detach().clone())
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    @torch.no_grad()
    def _fill(self, x):
        columns = x.transpose(0, 1).flatten(1)
        middle = columns.median(dim=1).values.view(-1, 1, 1)
        width = (columns.view(len(columns), -1, 1) - middle).abs().mean(dim=1, keepdim=True)
        self.bank["loc"] = nn.Parameter(middle)
        self.bank["log_width"] = nn.Parameter(torch.log(width + 0.1))

    def _ldj(self, x):
        one = self.bank["log_width"].expand(x.shape[1:]).sum()
        return one * torch.ones_like(x[:, 0, 0, 0])

    def forward(self, x):
        if "loc" not in self.bank:
            self._fill(x)
        z = (x - self.bank["loc"]) / self.bank["log_width"].exp()
        return z, -self._ldj(x)

    def inverse(self, z):
        x = z * self.bank["log_width"].exp() + self.bank["loc"]
        return x, self._ldj(z)


def make_good():
    return LazyNorm()
