"""A scaled Householder reflection about a fixed axis, or about one drawn in every call."""

import torch
import torch.nn as nn

SHAPE = (2, 2)
WHY = "The inverse reflects about another axis than forward did."
CAUSE = r"random|deterministic|differ|every call|each call|axis|redrawn|two calls|twice|reflect"


class Householder(nn.Module):
    def __init__(self, draw_once=True):
        super().__init__()
        self.draw_once = draw_once
        self.logs = nn.Parameter(torch.tensor([0.1, 0.2, -0.1, 0.3]))
        self.register_buffer("axis", torch.tensor([0.5, -1.0, 2.0, 0.25]))

    def reflect(self, rows):
        v = self.axis if self.draw_once else torch.randn_like(self.axis)
        v = v / torch.linalg.vector_norm(v)
        return rows - 2 * (rows @ v).unsqueeze(-1) * v

    def forward(self, x):
        rows = x.reshape(-1, 4) * self.logs.exp()
        return self.reflect(rows).reshape(x.shape), self.logs.sum().expand(x.shape[0])

    def inverse(self, z):
        rows = self.reflect(z.reshape(-1, 4)) / self.logs.exp()
        return rows.reshape(z.shape), -self.logs.sum().expand(z.shape[0])


def make_good():
    return Householder()


def make_bad():
    return Householder(draw_once=False)
