"""A sinh-arcsinh Transform of matrices (event_dim 2); bad: its log_abs_det_jacobian is
elementwise.
"""

import math

import torch
from torch.distributions import constraints
from torch.distributions.transforms import Transform

SHAPE = (3, 2)
WHY = "With event_dim 2 the last two axes must be summed; here (B, 3, 2) comes back."
CAUSE = r"shape|event.?dim|sum|each entry|per (entry|dim)|\(B, ?(D|3)"

matrices = constraints.independent(constraints.real, 2)


class SinhArcsinh(Transform):
    domain = codomain = matrices
    bijective = True
    sign = +1

    def __init__(self, tail=1.3, cache_size=0):
        super().__init__(cache_size=cache_size)
        self.tail = tail

    def with_cache(self, cache_size=1):
        return type(self)(self.tail, cache_size)

    def __eq__(self, other):
        return type(self) is type(other) and self.tail == other.tail

    def __hash__(self):
        return hash((type(self), self.tail))

    def _call(self, x):
        return torch.sinh(self.tail * torch.asinh(x))

    def _inverse(self, y):
        return torch.sinh(torch.asinh(y) / self.tail)

    def elementwise(self, x):
        cosh = torch.cosh(self.tail * torch.asinh(x))
        return math.log(self.tail) + cosh.log() - torch.log1p(x * x) / 2

    def log_abs_det_jacobian(self, x, y):
        return self.elementwise(x).sum(dim=(-2, -1))


class ElementwiseSinhArcsinh(SinhArcsinh):
    def log_abs_det_jacobian(self, x, y):
        return self.elementwise(x)


def make_good():
    return SinhArcsinh()


def make_bad():
    return ElementwiseSinhArcsinh()
