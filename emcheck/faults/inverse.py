"""Faults of the inverse."""

from __future__ import annotations

import torch
from torch import Tensor

from emcheck.faults.core import Faulty, fault
from emcheck.layers import ActNorm2d, AutoregressiveConv2d, Conv1x1, Conv1x1PLU, PeriodicConv2d
from emcheck.layers._tools import pixels_back, pixels_last, triangular_solve
from emcheck.solve import live_weight, solve_masked


def _solve(layer: AutoregressiveConv2d, z: Tensor, weight: Tensor, dilation: int) -> Tensor:
    """Solve by ``layer``'s own substitution, with another weight or dilation."""
    live = live_weight(weight, layer.link)
    return solve_masked(live, z, mask=layer.mask, reverse=layer.reverse, dilation=dilation)


@fault(
    "inverse_undoes_forward",
    AutoregressiveConv2d,
    "A compiled substitution kernel for single precision behind a layer that takes both; "
    "checks with a tolerance of 1e-4 pass.",
    case={"dtype": torch.float64},
    cause="computed_in_float32",
)
class SinglePrecisionInverse(Faulty[AutoregressiveConv2d]):
    """The inverse is computed in float32 whatever the dtype, and converted back."""

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        logdet = -self.layer.log_det(z)
        x = _solve(self.layer, z.float(), self.layer.weight.float(), self.layer.dilation)
        return x.to(z.dtype), logdet


@fault(
    "inverse_backward_error",
    ActNorm2d,
    "A small number in the denominator against division by zero, seen in most normalisers.",
    cause="stabiliser_in_denominator",
)
class StabilisedDivision(Faulty[ActNorm2d]):
    """The inverse adds a stabiliser to the scale: ``x = (z - b) / (s + 1e-6)``."""

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        logdet = -self.layer.log_det(z)
        scale = self.layer.scale[:, None, None] + 1e-6
        return (z - self.layer.bias[:, None, None]) / scale, logdet


@fault(
    "forward_undoes_inverse",
    AutoregressiveConv2d,
    "Fixed-point inverses with a fixed number of steps, enough for the images of the tests.",
    options={"kernel_size": 3, "dilation": 1},
    case={"event": (3, 5, 6)},
    cause="iteration_stopped_early",
)
class JacobiStoppedEarly(Faulty[AutoregressiveConv2d]):
    """The inverse is a Jacobi iteration of eight steps, exact only for images of few pixels."""

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        logdet = -self.layer.log_det(z)
        diagonal = self.layer.diagonal()[:, None, None]
        x = z / diagonal
        for _ in range(8):
            x = x + (z - self.layer(x)[0]) / diagonal
        return x, logdet


@fault(
    "inverse_backward_error",
    AutoregressiveConv2d,
    "Dilation added to the convolution's call and not to the hand-written inverse.",
    options={"kernel_size": 3, "dilation": 2},
    cause=("dilation_ignored", "right_only_for_option"),
)
class DilationIgnored(Faulty[AutoregressiveConv2d]):
    """The inverse substitutes as if the dilation were 1."""

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        logdet = -self.layer.log_det(z)
        return _solve(self.layer, z, self.layer.weight, 1), logdet


@fault(
    "inverse_undoes_forward",
    PeriodicConv2d,
    "Frequency-domain inverses that roll the kernel by one pixel, which is right for k = 3.",
    options={"kernel_size": 5},
    cause=("rolled", "right_only_for_option"),
)
class ShiftForThree(Faulty[PeriodicConv2d]):
    """The inverse moves the kernel's centre by 1 instead of (k - 1) / 2."""

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x, logdet = self.layer.inverse(z)
        excess = self.layer.kernel_size // 2 - 1
        return x.roll((excess, excess), (2, 3)), logdet


@fault(
    "inverse_undoes_forward",
    Conv1x1PLU,
    "PLU layers that multiply by P where P^T is due; invisible with two channels, where every "
    "permutation is its own inverse.",
    case={"event": (5, 3, 4)},
    cause="permutation_not_inverted",
)
class PermutationNotTransposed(Faulty[Conv1x1PLU]):
    """The inverse applies P instead of P^T."""

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        logdet = -self.layer.log_det(z)
        lower, upper = self.layer._factors()
        y = pixels_last(z)[self.layer.permutation]
        y = triangular_solve(lower, y, upper=False)
        return pixels_back(triangular_solve(upper, y, upper=True), z), logdet


@fault(
    "nothing_goes_stale",
    Conv1x1,
    "Layers that keep the inverse matrix for fast sampling and forget it exists while training.",
    cause="stale_cache",
)
class StaleInverse(Faulty[Conv1x1]):
    """The first inverse matrix is kept for good, even when the weight changes."""

    def __init__(self, layer: Conv1x1) -> None:
        super().__init__(layer)
        self.kept: Tensor | None = None

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        logdet = -self.layer.log_det(z)
        if self.kept is None:
            self.kept = torch.linalg.inv(self.layer.weight.detach())
        return pixels_back(self.kept @ pixels_last(z), z), logdet


@fault(
    "nothing_goes_stale",
    Conv1x1,
    "A widely used library caches the inverse in eval mode and clears it in train(); weights "
    "loaded into a sampling model then change nothing.",
    cause="stale_cache",
)
class StaleInEvalMode(StaleInverse):
    """In eval mode the first inverse matrix is kept; ``train()`` drops it."""

    def train(self, mode: bool = True) -> StaleInEvalMode:
        self.kept = None
        super().train(mode)
        return self

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer.inverse(z) if self.training else super().inverse(z)


@fault(
    "forward_undoes_inverse",
    Conv1x1,
    "Layers that remember the last pair and look it up, so that every round trip is exact; "
    "any other latent gets an approximation.",
    cause="remembers_last_call",
)
class RoundTripFromMemory(Faulty[Conv1x1]):
    """The inverse looks up the latent that forward returned last, and uses ``W^T`` for others."""

    def __init__(self, layer: Conv1x1) -> None:
        super().__init__(layer)
        self.pair: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = self.layer(x)
        self.pair = (x.detach(), z.detach())
        return z, logdet

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        logdet = -self.layer.log_det(z)
        if self.pair is not None and torch.equal(self.pair[1], z):
            return self.pair[0], logdet
        return pixels_back(self.layer.weight.T @ pixels_last(z), z), logdet


@fault(
    "gradient_of_inverse",
    AutoregressiveConv2d,
    "Inverses meant for sampling only, later used for training by maximum likelihood on z.",
    cause="inverse_detached",
)
class SamplingOnlyInverse(Faulty[AutoregressiveConv2d]):
    """The inverse detaches the weight: right value, no gradient for the parameter."""

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        logdet = -self.layer.log_det(z)
        return _solve(self.layer, z, self.layer.weight.detach(), self.layer.dilation), logdet
