"""What a small error of the inverse in float64 is, and is not, called."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import emcheck


class Stabilised(nn.Module):
    """ELU, whose inverse adds 1e-8 to the argument of its logarithm."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return F.elu(x), -torch.relu(-x).sum(1)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x = z.clamp(min=0) + torch.log1p(z + 1e-8).clamp(max=0)
        return x, torch.relu(-x).sum(1)


class Narrowed(nn.Module):
    """The exponential, whose inverse passes through float32."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.exp(), x.sum(1)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x = z.log().float().to(z.dtype)
        return x, -x.sum(1)


def causes(layer: nn.Module) -> list[str]:
    report = emcheck.check_layer(layer, (4,))
    assert "inverse_undoes_forward" in {failure.check for failure in report.failures}
    return [explanation.cause for explanation in report.explanations]


def test_a_stabiliser_is_not_called_rounding() -> None:
    """Its error has the size of float32's, and always the same sign."""
    found = causes(Stabilised())
    assert "rounded_on_the_way" not in found
    assert found[0] == "stabiliser_in_denominator"


def test_rounding_is_called_rounding() -> None:
    assert causes(Narrowed())[0].startswith("rounded")
