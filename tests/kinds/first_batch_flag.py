"""Channels are whitened with the Cholesky factor of the first training batch, once."""

import torch
import torch.nn as nn

SHAPE = (3, 2, 2)
WHY = "The mark 'done' is a buffer in the right layer and a mere tensor in the wrong one."
CAUSE = r"first (training )?(batch|call|data)|initiali[sz]|done|(flag|state).*sav|restor|whiten"


class Whiten(nn.Module):
    def __init__(self, saved=True, channels=3):
        super().__init__()
        self.centre = nn.Parameter(torch.zeros(channels, 1))
        self.below = nn.Parameter(torch.zeros(channels, channels))
        self.log_diag = nn.Parameter(torch.zeros(channels))
        if saved:
            self.register_buffer("done", torch.tensor(False))
        else:
            self.done = torch.tensor(False)

    @torch.no_grad()
    def fit(self, pixels):
        flat = pixels.transpose(0, 1).flatten(1)
        eye = torch.eye(len(flat), dtype=flat.dtype)
        factor = torch.linalg.cholesky(torch.cov(flat, correction=0) + 1e-3 * eye)
        white = torch.linalg.solve_triangular(factor, eye, upper=False)
        self.centre.copy_(flat.mean(1, keepdim=True))
        self.below.copy_(white.tril(-1))
        self.log_diag.copy_(white.diagonal().log())
        self.done.fill_(True)

    def matrix(self):
        return self.below.tril(-1) + torch.diag_embed(self.log_diag.exp())

    def volume(self, x):
        return (self.log_diag.sum() * x.shape[2] * x.shape[3]).repeat(len(x))

    def forward(self, x):
        pixels = x.flatten(2)
        if self.training and not self.done and len(x) > 1:
            self.fit(pixels)
        z = self.matrix() @ (pixels - self.centre)
        return z.reshape(x.shape), self.volume(x)

    def inverse(self, z):
        x = torch.linalg.solve_triangular(self.matrix(), z.flatten(2), upper=False)
        return (x + self.centre).reshape(z.shape), -self.volume(z)


def make_good():
    return Whiten()


def make_bad():
    return Whiten(saved=False)
