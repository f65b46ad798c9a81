"""F.batch_norm of images as a flow: training uses the batch and refuses to invert."""

import torch
import torch.nn as nn
import torch.nn.functional as F

SHAPE = (3, 2, 2)
WHY = "By design the images of a training batch depend on each other; eval mode is exact."
FAILS_OK = ("rows_are_independent",)


class FlowBatchNorm2d(nn.Module):
    def __init__(self, channels=3, momentum=0.05, eps=1e-3):
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.gamma = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def log_slope(self, var, like):
        pixels = like.shape[-2] * like.shape[-1]
        return (
            pixels
            * (self.gamma - 0.5 * torch.log(var + self.eps)).sum()
            * like.new_ones(like.shape[0])
        )

    def forward(self, x):
        from_batch = self.training and x.shape[0] > 1
        var = x.var(dim=(0, 2, 3), correction=0) if from_batch else self.running_var.clone()
        z = F.batch_norm(
            x, self.running_mean, self.running_var, self.gamma.exp(), self.beta,
            training=from_batch, momentum=self.momentum, eps=self.eps,
        )  # fmt: skip
        return z, self.log_slope(var, x)

    def inverse(self, z):
        if self.training:
            raise RuntimeError("FlowBatchNorm2d can be inverted in eval mode only")
        column = (slice(None), None, None)
        unit = (z - self.beta[column]) / self.gamma.exp()[column]
        x = unit * torch.sqrt(self.running_var + self.eps)[column] + self.running_mean[column]
        return x, -self.log_slope(self.running_var, z)


def make_good():
    return FlowBatchNorm2d()
