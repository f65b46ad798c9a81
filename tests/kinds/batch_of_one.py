"""The mean of one channel gives each image a zoom, of shape (B, 1): squeezed along 1, or
throughout.
"""

import torch
import torch.nn as nn

SHAPE = (3, 2, 2)
WHY = "squeeze() makes a 0-d zoom of a batch of one, which cannot be indexed by image any more."
CAUSE = r"batch of (one|1)|one sample|single sample|squeeze|batch dimension|B = 1|too many indices"


class Zoom(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(1, 5)
        self.out = nn.Linear(5, 1)

    def flat(self, column):
        return torch.squeeze(column, dim=1)

    def zoom(self, guide):
        pooled = guide.mean(dim=(2, 3))
        return self.flat(torch.tanh(self.out(torch.sin(self.hidden(pooled)))))

    def forward(self, x):
        guide, rest = x.split([1, 2], dim=1)
        log_zoom = self.zoom(guide)
        rest = rest * log_zoom.exp()[:, None, None, None]
        return torch.cat([guide, rest], dim=1), log_zoom * rest[0].numel()

    def inverse(self, z):
        guide, rest = z.split([1, 2], dim=1)
        log_zoom = self.zoom(guide)
        rest = rest / log_zoom.exp()[:, None, None, None]
        return torch.cat([guide, rest], dim=1), -log_zoom * rest[0].numel()


class CarelessZoom(Zoom):
    def flat(self, column):
        return column.squeeze()


def make_good():
    return Zoom()


def make_bad():
    return CarelessZoom()
