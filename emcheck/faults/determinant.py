"""Faults in the computation of log-dets: determinants and logarithms out of range."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from emcheck.faults.core import OtherLogdet, fault
from emcheck.layers import ActNorm2d, Conv1x1


@fault(
    "logdet_matches_definition",
    Conv1x1,
    "Code that calls torch.logdet because the initial rotation was drawn with determinant 1.",
    cause="log_without_abs",
)
class LogdetOfNegativeDeterminant(OtherLogdet[Conv1x1]):
    """The log-det is ``torch.logdet``, not slogdet: it is NaN for a negative determinant."""

    def total(self, H: int, W: int) -> Tensor:
        return H * W * torch.logdet(self.layer.weight)


def _shrink(layer: nn.Module) -> None:
    layer.get_parameter("weight").data.mul_(2.0**-5)


@fault(
    "logdet_matches_definition",
    Conv1x1,
    "1x1 convolutions after squeezes: with dozens of channels the determinant leaves float32 "
    "long before its logarithm does.",
    case={"event": (32, 1, 2), "style": "initial", "dtype": torch.float32},
    prepare=_shrink,
    cause="determinant_out_of_range",
)
class DeterminantUnderflows(OtherLogdet[Conv1x1]):
    """The log-det is ``log(abs(det(W)))``: 32 channels of size 1/32 have determinant 2^-160."""

    def total(self, H: int, W: int) -> Tensor:
        return H * W * self.layer.weight.det().abs().log()


@fault(
    "extreme_parameters",
    Conv1x1,
    "The same formula the other way: large weights, and the determinant is infinite.",
    cause="determinant_out_of_range",
)
class DeterminantOverflows(OtherLogdet[Conv1x1]):
    """``log(|det(W)|)`` is computed from the squared determinant, which overflows."""

    def total(self, H: int, W: int) -> Tensor:
        return H * W * 0.5 * self.layer.weight.det().square().log()


@fault(
    "inverse_logdet_matches_jacobian",
    ActNorm2d,
    "Scales learnt without a sign constraint, with the log taken as if they were exponentials.",
    case={"style": "mixed"},
    cause="log_without_abs",
)
class LogOfNegativeScale(OtherLogdet[ActNorm2d]):
    """The log-det sums ``log s``, not ``log|s|``: it is NaN as soon as a scale crosses zero."""

    def total(self, H: int, W: int) -> Tensor:
        return H * W * self.layer.scale.log().sum()
