"""Faults of inverses that iterate until a tolerance is met."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from torch import Tensor

from emcheck.contract import InvertibleLayer
from emcheck.faults.core import Faulty, fault
from emcheck.layers import ActNorm2d

L = TypeVar("L", bound=InvertibleLayer)


class Iterating(Faulty[L]):
    """A correct damped Newton iteration, until no entry moves by more than the tolerance."""

    declares_tolerance: ClassVar[bool] = True

    #: More steps than any tolerance needs: each halves the error.
    most = 60

    def __init__(self, layer: L) -> None:
        super().__init__(layer)
        self.tolerance = 1e-6

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x = z
        for _ in range(self.most):
            value = self.layer.forward(x)[0]
            slope = self.layer.forward(x + 1)[0] - value
            step = 0.5 * (z - value) / slope
            x = x + step
            if self.near(step, x):
                break
        return x, -self.layer.log_det(x)

    def near(self, step: Tensor, x: Tensor) -> bool:
        return bool((step.abs() <= self.tolerance * (1 + x.abs())).all())


@fault(
    "inverse_meets_its_tolerance",
    ActNorm2d,
    "Fixed-point inverses of residual and masked layers with a constant number of steps.",
    correct=Iterating,
    cause="tolerance_ignored",
)
class AlwaysThreeSteps(Iterating[ActNorm2d]):
    """The inverse takes three steps, whatever its tolerance."""

    most = 3


@fault(
    "inverse_meets_its_tolerance",
    ActNorm2d,
    "Solvers that compare the mean of squared steps with the tolerance: its root is what is met.",
    correct=Iterating,
    cause="tolerance_missed",
)
class ComparesSquares(Iterating[ActNorm2d]):
    """The mean square of a step is compared with the tolerance, so only its root is met."""

    def near(self, step: Tensor, x: Tensor) -> bool:
        return bool(step.square().mean() <= self.tolerance)
