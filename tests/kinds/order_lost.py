"""Space to depth by reshapes; the wrong inverse exchanges H and W."""

import torch
import torch.nn as nn

SHAPE = (1, 4, 8)
WHY = "The data come back in another order, which is not the permutation of forward."
CAUSE = r"another order"


class SpaceToDepth(nn.Module):
    def sides(self, z):
        return z.shape[2], z.shape[3]

    def forward(self, x):
        b, c, h, w = x.shape
        if h % 2 or w % 2:
            raise ValueError("even sizes only")
        z = x.view(b, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4)
        return z.reshape(b, 4 * c, h // 2, w // 2), torch.zeros(b).to(x)

    def inverse(self, z):
        b, c, h, w = z.shape
        x = z.reshape(b, c // 4, 2, 2, *self.sides(z)).permute(0, 1, 4, 2, 5, 3)
        return x.reshape(b, c // 4, 2 * h, 2 * w), torch.zeros(b).to(z)


class Exchanged(SpaceToDepth):
    def sides(self, z):
        return z.shape[3], z.shape[2]


def make_good():
    return SpaceToDepth()


def make_bad():
    return Exchanged()
