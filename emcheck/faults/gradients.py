"""Faults of gradients: detached factors, dead parameters, truncated rules."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from emcheck.faults.core import Faulty, fault
from emcheck.layers import AutoregressiveConv2d, Conv1x1, Conv1x1PLU, Conv1x1QR
from emcheck.layers._tools import per_sample


@fault(
    "gradient_of_latent",
    Conv1x1QR,
    "Norms detached to keep the graph small; training works, along a wrong direction.",
    cause="gradient_incomplete",
)
class NormDetached(Conv1x1QR):
    """The lengths of the Householder vectors are detached: their gradient is wrong."""

    def _reflect(self, M: Tensor) -> Tensor:
        super()._reflect(M)  # raises for a zero vector
        unit = self.vectors / self.vectors.detach().norm(dim=1, keepdim=True)
        for v in unit.flip(0):
            M = M - 2 * torch.outer(v, v @ M)
        return M


@fault(
    "no_dead_parameter",
    Conv1x1,
    "A bias declared and never added: counted, saved, sent to the optimiser, never moved.",
    cause="unused_parameter",
)
class OrphanParameter(Faulty[Conv1x1]):
    """The layer has a parameter that nothing depends on."""

    def __init__(self, layer: Conv1x1) -> None:
        super().__init__(layer)
        self.bias = nn.Parameter(torch.zeros(layer.channels))


@fault(
    "no_dead_parameter",
    Conv1x1PLU,
    "`.data` in a property, a habit from before no_grad: values follow, gradients stop.",
    cause="parameter_detached",
)
class ScaleThroughData(Conv1x1PLU):
    """``log_scale.data`` is used everywhere, so the parameter never receives a gradient."""

    def _factors(self) -> tuple[Tensor, Tensor]:
        L, _ = super()._factors()
        scale = self.sign * self.log_scale.data.exp()
        return L, self.upper.triu(1) + torch.diag(scale)

    def log_det(self, x: Tensor) -> Tensor:
        super().log_det(x)  # validates x
        return per_sample(x.shape[2] * x.shape[3] * self.log_scale.data.sum(), x)


@fault(
    "gradient_of_inverse",
    AutoregressiveConv2d,
    "Iterative inverses under no_grad, with one differentiable step to attach gradients: the "
    "implicit gradient cut off after its first term.",
    options={"kernel_size": 3, "dilation": 1},
    cause="inverse_gradient_one_step",
)
class OneStepGradient(Faulty[AutoregressiveConv2d]):
    """The inverse's gradient is that of a single Jacobi step at the solution."""

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x, logdet = self.layer.inverse(z)
        x = x.detach()
        diagonal = self.layer.diagonal()[:, None, None]
        step = (z - self.layer(x)[0]) / diagonal
        return x + (step - step.detach()), logdet
