"""A 1x1 convolution by a matrix exponential; its log-det is one number, returned with shape
(1,).
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

SHAPE = (3, 2, 3)
WHY = "log det exp(A) = tr A at every pixel, the same for all images: shape (1,) broadcasts."


class ExpConv(nn.Module):
    def __init__(self, channels=3):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.A = nn.Parameter(0.2 * torch.randn(channels, channels, generator=generator))

    def _act(self, x, sign):
        kernel = torch.matrix_exp(sign * self.A)[:, :, None, None]
        pixels = x.size(-1) * x.size(-2)
        return F.conv2d(x, kernel), (sign * pixels * torch.trace(self.A)).reshape(1)

    def forward(self, x):
        return self._act(x, 1)

    def inverse(self, z):
        return self._act(z, -1)


def make_good():
    return ExpConv()
