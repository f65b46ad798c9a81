"""A triangular solve with a backward of its own; the wrong one returns its transpose."""

import torch
import torch.nn as nn

SHAPE = (3,)
WHY = (
    "Values are right and nothing is detached: the gradient of the weights is that of another map."
)
CAUSE = r"backward"


def solve(matrix, data):
    return torch.linalg.solve_triangular(matrix, data.T, upper=False).T


class Solve(torch.autograd.Function):
    @staticmethod
    def forward(ctx, matrix, z):
        x = solve(matrix, z)
        ctx.save_for_backward(matrix, x)
        return x

    @staticmethod
    def backward(ctx, g):
        matrix, x = ctx.saved_tensors
        of_z = torch.linalg.solve_triangular(matrix.T, g.T, upper=True).T
        return -(of_z.T @ x), of_z


class TransposedSolve(Solve):
    @staticmethod
    def backward(ctx, g):
        of_matrix, of_z = Solve.backward(ctx, g)
        return of_matrix.T, of_z


class Triangular(nn.Module):
    solver = Solve

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[0.0, 0, 0], [0.4, 0, 0], [-0.3, 0.5, 0]]))
        self.log_scale = nn.Parameter(torch.zeros(3))

    def matrix(self):
        return self.weight.tril(-1) + self.log_scale.exp().diag()

    def forward(self, x):
        return x @ self.matrix().T, self.log_scale.sum().expand(len(x))

    def inverse(self, z):
        return self.solver.apply(self.matrix(), z), -self.log_scale.sum().expand(len(z))


class WithWrongBackward(Triangular):
    solver = TransposedSolve


def make_good():
    return Triangular()


def make_bad():
    return WithWrongBackward()
