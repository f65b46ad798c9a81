"""Faults of how a log-det is computed: determinants and logarithms out of range."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from emcheck.faults.core import Faulty, fault
from emcheck.layers import ActNorm2d, Conv1x1
from emcheck.layers._tools import per_sample


class _Determinant(Faulty[Conv1x1]):
    """``log|det W|`` by another formula, in both directions."""

    def _logabsdet(self) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer(x)[0], self.log_det(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer.inverse(z)[0], -self.log_det(z)

    def log_det(self, x: Tensor) -> Tensor:
        self.layer.log_det(x)  # validates x
        return per_sample(x.shape[2] * x.shape[3] * self._logabsdet(), x)


@fault(
    "logdet_matches_definition",
    Conv1x1,
    "Code that calls torch.logdet because the initial rotation was drawn with determinant 1.",
)
class LogdetOfNegativeDeterminant(_Determinant):
    """``torch.logdet`` where slogdet is needed: NaN for a negative determinant."""

    def _logabsdet(self) -> Tensor:
        return torch.logdet(self.layer.weight)


def _shrink(layer: nn.Module) -> None:
    layer.get_parameter("weight").data.mul_(2.0**-5)


@fault(
    "logdet_matches_definition",
    Conv1x1,
    "1x1 convolutions after squeezes: with dozens of channels the determinant leaves float32 "
    "long before its logarithm does.",
    case={"event": (32, 1, 2), "style": "initial", "dtype": torch.float32},
    prepare=_shrink,
)
class DeterminantUnderflows(_Determinant):
    """``log(abs(det(W)))``: 32 channels of size 1/32 have determinant 2^-160."""

    def _logabsdet(self) -> Tensor:
        return self.layer.weight.det().abs().log()


@fault(
    "extreme_parameters",
    Conv1x1,
    "The same formula the other way: large weights, and the determinant is infinite.",
)
class DeterminantOverflows(_Determinant):
    """``log(|det(W)|)`` by the squared determinant, as if only its sign mattered."""

    def _logabsdet(self) -> Tensor:
        return 0.5 * self.layer.weight.det().square().log()


@fault(
    "inverse_logdet_matches_jacobian",
    ActNorm2d,
    "Scales learnt without a sign constraint, with the log taken as if they were exponentials.",
    case={"style": "mixed"},
)
class LogOfNegativeScale(Faulty[ActNorm2d]):
    """``log s`` instead of ``log|s|``: NaN as soon as a scale crosses zero."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer(x)[0], self.log_det(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer.inverse(z)[0], -self.log_det(z)

    def log_det(self, x: Tensor) -> Tensor:
        self.layer.log_det(x)  # validates x
        return per_sample(x.shape[2] * x.shape[3] * self.layer.scale.log().sum(), x)
